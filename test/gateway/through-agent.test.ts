import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Metrics } from '../../src/base/metrics/metrics.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { openGatewayHub } from '../../src/cli/gateway-hub.ts';
import { startGatewayProgram } from '../../src/cli/gateway-program.ts';
import type { Dialer } from '../../src/dialer/dialer.ts';
import type { RunningGateway } from '../../src/gateway/node/gateway-server.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { RawClient } from './raw-client.ts';

interface Seen {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

const tokenReviews = {
  name: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
  verbs: ['create'],
};

/** An API server that knows some tokens, and records its requests. */
async function startApiServer({ server }: TestCertificates, users: Record<string, string>) {
  const seen: Seen[] = [];
  const api = createServer({ cert: readFileSync(server.cert), key: readFileSync(server.key) });
  api.on('request', (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      response.setHeader('Content-Type', 'application/json');
      if (request.url === '/apis/authentication.k8s.io/v1') {
        response.end(JSON.stringify({ kind: 'APIResourceList', resources: [tokenReviews] }));
        return;
      }
      if (!request.url!.includes('/tokenreviews')) {
        seen.push({ path: request.url!, headers: request.headers });
        response.end('{"kind":"Answer"}');
        return;
      }
      const { spec } = JSON.parse(String(Buffer.concat(pieces))) as { spec: { token: string } };
      const username = users[spec.token];
      const user = { username, groups: ['dev'] };
      const status =
        username === undefined ? { authenticated: false } : { authenticated: true, user };
      const kind = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {} };
      response.writeHead(201).end(JSON.stringify({ ...kind, status }));
    });
  });
  api.on('upgrade', (request, socket) => {
    seen.push({ path: request.url!, headers: request.headers });
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\nhello `,
    );
    socket.on('data', (piece: Buffer) => socket.write(piece));
    socket.on('end', () => socket.end(' bye'));
  });
  await new Promise<void>((resolve) => void api.listen(0, '127.0.0.1', resolve));
  const { port } = api.address() as AddressInfo;
  const close = (): void => {
    api.closeAllConnections();
    api.close();
  };
  return { port, seen, [Symbol.dispose]: close };
}

const stack = new AsyncDisposableStack();
let managed: Awaited<ReturnType<typeof startApiServer>>;
let gateway: RunningGateway;
/** A gateway whose dialer the broker knows as an ordinary one. */
let pretender: RunningGateway;
/** A gateway that serves HTTP/2. */
let encrypted: RunningGateway;

beforeAll(async () => {
  const certificates = stack.use(await makeTestCertificates());
  managed = stack.use(await startApiServer(certificates, { 'managed-bob': 'bob' }));
  const hub = stack.use(
    await startApiServer(certificates, { 'hub-ann': 'ann', 'hub-sa': 'system:serviceaccount:n:s' }),
  );
  const token = join(certificates.directory, 'agent-token');
  await writeFile(token, 'agent-token');
  const kubeconfig = join(certificates.directory, 'hub.kubeconfig');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [
        {
          name: 'hub',
          cluster: {
            server: `https://127.0.0.1:${hub.port}`,
            'certificate-authority': certificates.server.ca,
          },
        },
      ],
      users: [{ name: 'me', user: { token: 'gateway' } }],
      contexts: [{ name: 'hub', context: { cluster: 'hub', user: 'me' } }],
      'current-context': 'hub',
    }),
  );
  const { options, gateway: gatewayOptions } = readBrokerOptions(
    ['--listen=127.0.0.1:0', '--gateway-listen=127.0.0.1:0', '--gateway-min-drain=0s'],
    {},
  );
  const broker = stack.use(await startBroker(options, { log: silentLogger }));
  const { options: agentOptions } = readAgentOptions(
    [
      ...['--broker-url', broker.url, '--cluster', 'c1'],
      ...['--kube-apiserver', `127.0.0.1:${managed.port}`],
      ...['--kube-ca-file', certificates.server.ca, '--kube-token-file', token],
    ],
    {},
  );
  const agent = stack.use(await startAgent(agentOptions, { log: silentLogger }));
  await agent.connected;
  const hubAccess = stack.use(
    openGatewayHub(
      { from: 'kubeconfig', path: kubeconfig },
      { proxies: undefined, clock: systemClock, log: silentLogger },
    ),
  );
  const start = (dialer: Dialer, more: object = {}): Promise<RunningGateway> =>
    startGatewayProgram(
      { ...gatewayOptions!, ...more },
      {
        dialer,
        hub: hubAccess,
        metrics: new Metrics(),
        log: silentLogger,
        stack,
      },
    );
  gateway = await start(broker.gatewayDialer);
  pretender = await start(broker.dialer);
  const { cert: certFile, key: keyFile } = certificates.server;
  encrypted = await start(broker.gatewayDialer, { tls: { certFile, keyFile } });
});
afterAll(() => stack.disposeAsync());

async function get(token: string | undefined, headers = {}, of = gateway) {
  const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const response = await fetch(`${of.url}/c1/api/v1/pods`, {
    headers: { ...authorization, ...headers },
  });
  const answer = (await response.json()) as { kind: string; message?: string };
  return { status: response.status, answer, headers: managed.seen.at(-1)?.headers };
}

describe('A gateway, a broker and an agent', () => {
  it("A managed cluster's token reaches its API server unchanged", async () => {
    const { status, headers } = await get('managed-bob');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ authorization: 'Bearer managed-bob' });
    expect(headers?.['impersonate-user']).toBeUndefined();
  });

  it("A hub user is impersonated with the agent's token", async () => {
    const { status, headers } = await get('hub-ann', { Impersonate_User: 'root' });
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      authorization: 'Bearer agent-token',
      'impersonate-user': 'ann',
      'impersonate-group': 'dev',
    });
    expect(JSON.stringify(headers)).not.toContain('root');
    const account = await get('hub-sa');
    expect(account.headers?.['impersonate-user']).toBe('cluster:hub:system:serviceaccount:n:s');
  });

  it('A token that nobody knows gets a 401, and no request reaches the API server', async () => {
    const before = managed.seen.length;
    const { status, answer } = await get('stranger');
    expect(status).toBe(401);
    expect(answer.message).toContain('token is neither valid for managed cluster nor hub cluster');
    expect((await get(undefined)).status).toBe(401);
    expect(managed.seen).toHaveLength(before);
  });

  it('Impersonation of the client passes unchanged with its token', async () => {
    const { status, headers } = await get('stranger', { 'Impersonate-User': 'x' });
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      authorization: 'Bearer stranger',
      'impersonate-user': 'x',
    });
  });

  it('An agent gives its credentials to no dialer that is not a gateway', async () => {
    const before = managed.seen.length;
    const { status, answer } = await get('hub-ann', {}, pretender);
    expect(status).toBe(401);
    expect(answer.message).toContain('managed cluster authentication failed');
    expect(managed.seen).toHaveLength(before);
  });

  it('An exec session passes bytes, with half-close', async () => {
    const client = new RawClient(gateway.address).send(
      'GET /c1/api/v1/namespaces/n/pods/p/exec HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer hub-ann\r\n' +
        'Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n',
    );
    await client.until('hello ');
    client.send('input');
    client.socket.end();
    expect(await client.end()).toMatch(/hello input bye$/);
    expect(managed.seen.at(-1)?.headers['impersonate-user']).toBe('ann');
  });

  it('A WebSocket over HTTP/2 passes bytes, with half-close', async () => {
    const session = connectHttp2(encrypted.url, { rejectUnauthorized: false });
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/c1/api/v1/namespaces/n/pods/p/exec',
      ':scheme': 'https',
      ':authority': 'a',
      authorization: 'Bearer hub-ann',
    });
    stream.end('input');
    const pieces = (await stream.toArray()) as Buffer[];
    session.destroy();
    expect(String(Buffer.concat(pieces))).toBe('hello input bye');
  });
});
