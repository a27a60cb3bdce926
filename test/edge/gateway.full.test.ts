import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatClusterSettings } from '../../src/access/cluster-settings.ts';
import { describeGateway } from '../contracts/gateway.contract.ts';
import { describeGatewayPolicy } from '../contracts/gateway-policy.contract.ts';
import { type GatewayWorker, startGatewayWorker } from './gateway-worker.ts';

describeGateway('in the Worker', () => startGatewayWorker());
describeGatewayPolicy('in the Worker', (policy) => startGatewayWorker({ CULVERT_POLICY: policy }));

describe('The gateway in the Worker', () => {
  let world: GatewayWorker;
  beforeAll(async () => {
    world = await startGatewayWorker({
      CULVERT_GATEWAY_DOMAIN: 'clusters.test',
      CULVERT_POLICY: 'rules: []',
    });
  }, 60_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  async function send(
    path: string,
    headers: Record<string, string | string[]> = {},
    method = 'GET',
  ): Promise<{ status: number | undefined; body: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{
      status: number | undefined;
      body: string;
    }>();
    const request = httpRequest(`${world.url}${path}`, { method, headers, agent: false });
    request.on('error', reject);
    request.on('response', (message) => {
      let body = '';
      message.setEncoding('utf8').on('data', (piece: string) => (body += piece));
      message.on('end', () => resolve({ status: message.statusCode, body }));
    });
    request.end();
    return await promise;
  }

  it('A request for SPDY gets a Status that says what to use', async () => {
    const { status, body } = await send(
      '/c1/api/v1/namespaces/a/pods/b/exec?command=sh',
      {
        Connection: 'Upgrade',
        Upgrade: 'SPDY/3.1',
        'X-Stream-Protocol-Version': 'v4.channel.k8s.io',
      },
      'POST',
    );
    expect(status).toBe(400);
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', reason: 'BadRequest' });
    expect(body).toContain('SPDY is not possible on the edge, use WebSocket');
  });

  it('The server never sees the field with which the Worker talks to the object', async () => {
    await using open = await startGatewayWorker();
    let names: string[] = [];
    open.answer = (request, response) => {
      names = Object.keys(request.headers);
      response.end();
    };
    await fetch(`${open.url}/c1/version`, { headers: { 'Culvert-Admitted': 'x', 'X-Kept': 'a' } });
    expect(names).toContain('x-kept');
    expect(names.filter((name) => name.startsWith('culvert'))).toEqual([]);
  });

  it('Several groups of an impersonation are refused, because the runtime joins them', async () => {
    const { status, body } = await send('/c1/version', {
      'Impersonate-User': 'jane',
      'Impersonate-Group': ['a', 'system:masters'],
    });
    expect(status).toBe(400);
    expect(body).toContain('cannot be told apart');
  });

  it('A policy without rules forbids everything', async () => {
    const { status, body } = await send('/c1/version', { Authorization: 'Bearer t' });
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', code: status });
    expect([401, 403]).toContain(status);
  });

  it('A cluster that never had an agent is not found', async () => {
    const { status, body } = await send('/unknown/version');
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', code: status });
    expect([403, 404]).toContain(status);
  });

  it('The host form leads to the cluster, also for paths that the broker has', async () => {
    const { status, body } = await send('/healthz', { Host: 'c1.clusters.test' });
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', reason: 'Forbidden', code: status });
    expect((await send('/healthz')).body).toBe('ok');
  });

  it('A Durable Object sleeps after its last request, and serves the next one', async () => {
    await world.broker.worker.putToSleep('c1');
    const { status } = await send('/c1/version');
    expect(status).toBe(403);
  });
});

it('A token of the hub cluster becomes an impersonated user, and its token stays at the hub', async () => {
  const answer = (status: object): string => JSON.stringify({ kind: 'TokenReview', status });
  const hub = createServer((request, response) => {
    response.statusCode = request.headers.authorization === 'Bearer hub-access' ? 201 : 403;
    const username = 'system:serviceaccount:a:b';
    response.end(answer({ authenticated: true, user: { username, groups: ['g'] } }));
  }).listen(0, '127.0.0.1');
  await once(hub, 'listening');
  const { port } = hub.address() as AddressInfo;
  await using world = await startGatewayWorker({
    CULVERT_HUB_API_SERVER: `http://127.0.0.1:${port}`,
    CULVERT_HUB_API_TOKEN: 'hub-access',
  });
  let seen: Record<string, unknown> = {};
  world.answer = (request, response) => {
    if (request.url!.endsWith('/tokenreviews')) {
      response.statusCode = 201;
      response.end(answer({ authenticated: false }));
      return;
    }
    seen = request.headers;
    response.end('ok');
  };
  const response = await fetch(`${world.url}/c1/version`, {
    headers: { Authorization: 'Bearer of-the-hub' },
  });
  expect({ status: response.status, body: await response.text() }).toEqual({
    status: 200,
    body: 'ok',
  });
  expect(seen).toMatchObject({
    authorization: 'Bearer agent-token',
    'impersonate-user': 'cluster:hub:system:serviceaccount:a:b',
    'impersonate-group': 'g',
  });
  hub.close();
});

it('The settings of a cluster are read from a ConfigMap of the hub cluster', async () => {
  let data: string | undefined;
  const seen: string[] = [];
  const hub = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (request.url!.endsWith('/tokenreviews')) {
      response.statusCode = 201;
      response.end('{"status":{"authenticated":true,"user":{"username":"jane","groups":[]}}}');
    } else if (data === undefined) {
      response.statusCode = 404;
      response.end('{"kind":"Status","details":{"name":"cluster-settings"}}');
    } else {
      response.end(JSON.stringify({ data: { 'settings.json': data } }));
    }
  }).listen(0, '127.0.0.1');
  await once(hub, 'listening');
  await using world = await startGatewayWorker({
    CULVERT_HUB_API_SERVER: `http://127.0.0.1:${(hub.address() as AddressInfo).port}`,
    CULVERT_HUB_API_TOKEN: 'hub-access',
    CULVERT_CLUSTER_SETTINGS_CONFIGMAP: 'hub/cluster-settings',
  });
  world.answer = (request, response) => {
    const isReview = request.url!.endsWith('/tokenreviews');
    response.statusCode = isReview ? 201 : 200;
    const user = request.headers['impersonate-user'] ?? request.headers.authorization;
    response.end(isReview ? '{"status":{"authenticated":false}}' : String(user));
  };
  const ask = async () => {
    const headers = { Authorization: 'Bearer of-the-hub' };
    const response = await fetch(`${world.url}/c1/version`, { headers });
    return `${response.status} ${await response.text()}`;
  };
  expect(await ask()).toMatch(/^401 .*hub\/cluster-settings .*it does not exist/);
  // The settings are read again after 5 s if they were missing, and else after 30 s.
  const settled = { timeout: 60_000, interval: 500 };
  data = formatClusterSettings(new Map([['c1', { hubTokens: false, oidc: 'off' }]]));
  await expect.poll(ask, settled).toBe('200 Bearer of-the-hub');
  expect(new Set(seen)).toEqual(
    new Set(['GET /api/v1/namespaces/hub/configmaps/cluster-settings']),
  );
  data = formatClusterSettings(new Map([['c2', { hubTokens: false, oidc: 'off' }]]));
  await expect.poll(ask, settled).toBe('200 jane');
  hub.close();
  hub.closeAllConnections();
}, 150_000);
