import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningAgent, startAgent } from '../../../src/agent/agent.ts';
import { readAgentOptions } from '../../../src/agent/options.ts';
import type { TokenAuthenticator } from '../../../src/access/token-authenticator.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { Metrics } from '../../../src/base/metrics/metrics.ts';
import { startBroker } from '../../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../../src/cli/broker-options.ts';
import type { KubeApi } from '../../../src/kube/client/kube-api.ts';
import { startGatewayProgram } from '../../../src/cli/gateway-program.ts';
import type { RunningGateway } from '../../../src/gateway/node/gateway-server.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { RawClient } from '../../gateway/raw-client.ts';

const programs = await findPrograms(apiServerPrograms);

/** Users of the hub. The managed cluster does not know their tokens. */
const hubUsers: TokenAuthenticator = {
  authenticate: async (token) =>
    token === 'hub-ann' ? { user: 'ann', groups: ['dev'], source: 'hub-token' } : undefined,
};

const rights = `
apiVersion: v1
kind: Namespace
metadata: { name: proxies }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: agent, namespace: proxies }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: next-agent, namespace: proxies }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: weak-agent, namespace: proxies }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: user, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: agent }
rules:
  - { apiGroups: [""], resources: [users, groups, serviceaccounts], verbs: [impersonate] }
  - { apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: agent }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent }
subjects:
  - { kind: ServiceAccount, name: agent, namespace: proxies }
  - { kind: ServiceAccount, name: next-agent, namespace: proxies }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: weak-agent }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator }
subjects:
  - { kind: ServiceAccount, name: weak-agent, namespace: proxies }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: user, namespace: default }
rules: [{ apiGroups: [""], resources: [configmaps, pods, pods/exec], verbs: ["*"] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: user, namespace: default }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: user }
subjects:
  - { kind: ServiceAccount, name: user, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: dev, namespace: default }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: default }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: dev }
subjects:
  - { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
`;

const configMaps = '/api/v1/namespaces/default/configmaps';

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

describeWith({ programs }, 'a gateway, an agent and a kube-apiserver', ({ programs }) => {
  const stack = new AsyncDisposableStack();
  let api: RunningApiServer;
  let gateway: RunningGateway;
  let userToken: string;
  let tokenFile: string;
  let agent: RunningAgent;

  const agentToken = (name: string) => api.token('proxies', name);

  beforeAll(async () => {
    api = stack.use(await startApiServer(programs));
    await api.apply(rights);
    userToken = await api.token('default', 'user');
    tokenFile = join(api.directory, 'agent-token');
    await writeFile(tokenFile, await agentToken('agent'));
    const { options, gateway: gatewayOptions } = readBrokerOptions(
      ['--listen=127.0.0.1:0', '--gateway-listen=127.0.0.1:0', '--gateway-min-drain=0s'],
      {},
    );
    const broker = stack.use(await startBroker(options, { log: silentLogger }));
    const start = async (cluster: string, token: string, ...more: string[]) => {
      const { options: agentOptions } = readAgentOptions(
        [
          ...['--broker-url', broker.url, '--cluster', cluster],
          ...['--kube-apiserver', new URL(api.url).host, '--kube-ca-file', api.caFile],
          ...['--kube-token-file', token, '--status-listen', '127.0.0.1:0', ...more],
        ],
        {},
      );
      const started = stack.use(await startAgent(agentOptions, { log: silentLogger }));
      await started.connected;
      return started;
    };
    agent = await start('c1', tokenFile);
    await start('strict', tokenFile, '--enable-impersonation=false');
    const weakFile = join(api.directory, 'weak-token');
    await writeFile(weakFile, await agentToken('weak-agent'));
    await start('weak', weakFile);
    gateway = await startGatewayProgram(gatewayOptions!, {
      dialer: broker.gatewayDialer,
      // A gateway without a settings ConfigMap asks the hub for tokens only.
      hub: { tokens: hubUsers, api: {} as KubeApi, [Symbol.dispose]() {} },
      metrics: new Metrics(),
      log: silentLogger,
      stack,
    });
  }, 90_000);
  afterAll(() => stack.disposeAsync(), 30_000);

  /** Sends a request, and returns its response before the body. */
  async function send(
    path: string,
    options: {
      readonly method?: string;
      readonly token?: string;
      readonly headers?: OutgoingHttpHeaders;
      readonly body?: object;
      readonly cluster?: string;
      readonly isDirect?: boolean;
    } = {},
  ): Promise<IncomingMessage> {
    const { method = 'GET', token = userToken, headers = {}, body, cluster = 'c1' } = options;
    const sent = { Authorization: `Bearer ${token}`, ...headers };
    const all = body === undefined ? sent : { ...sent, 'Content-Type': 'application/json' };
    const outgoing = options.isDirect
      ? httpsRequest(`${api.url}${path}`, { method, headers: all, ca: readFileSync(api.caFile) })
      : httpRequest(`${gateway.url}/${cluster}${path}`, { method, headers: all, agent: false });
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    // The response has the error as well.
    outgoing.on('error', () => {});
    return response;
  }

  async function ask(path: string, options?: Parameters<typeof send>[1]): Promise<Answer> {
    const response = await send(path, options);
    const { statusCode: status, headers } = response;
    return { status, headers, body: await text(response) };
  }

  const statusOf = ({ body }: Answer) =>
    JSON.parse(body) as { kind: string; reason: string; message: string };

  const configMap = (name: string, data = {}) => ({ kind: 'ConfigMap', metadata: { name }, data });

  it('A GET has the body and the fields that the kube-apiserver sends', async () => {
    const viaGateway = await ask('/version');
    const direct = await ask('/version', { isDirect: true });
    expect(viaGateway.body).toBe(direct.body);
    expect(viaGateway.status).toBe(200);
    for (const field of ['content-type', 'cache-control', 'x-kubernetes-pf-flowschema-uid']) {
      expect(viaGateway.headers[field]).toBe(direct.headers[field]);
    }
  });

  it('A list is a table where the client asks for one', async () => {
    const Accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const { headers, body } = await ask(configMaps, { headers: { Accept } });
    expect(headers['content-type']).toContain('application/json');
    expect(JSON.parse(body)).toMatchObject({ kind: 'Table' });
  });

  it('The errors of a kube-apiserver arrive unchanged', async () => {
    const body = configMap('twice');
    expect((await ask(configMaps, { method: 'POST', body })).status).toBe(201);
    for (const [sent, status] of [
      [body, 409],
      [configMap('Not_A_Name'), 422],
    ] as const) {
      const options = { method: 'POST', body: sent };
      const viaGateway = await ask(configMaps, options);
      const direct = await ask(configMaps, { ...options, isDirect: true });
      expect(viaGateway.status).toBe(status);
      expect(viaGateway.body).toBe(direct.body);
    }
  });

  it('A watch brings each event at once, and ends at the kube-apiserver when the client leaves', async () => {
    const response = await send(`${configMaps}?watch=true&fieldSelector=metadata.name%3Dwatched`);
    response.setEncoding('utf8');
    let seen = '';
    response.on('data', (piece: string) => (seen += piece));
    for (const [method, path, event] of [
      ['POST', configMaps, 'ADDED'],
      ['DELETE', `${configMaps}/watched`, 'DELETED'],
    ] as const) {
      const body = method === 'POST' ? configMap('watched') : undefined;
      await ask(path, { method, ...(body && { body }) });
      while (!seen.includes(event)) await once(response, 'data');
    }
    expect(response.complete).toBe(false);
    response.destroy();
  });

  it('120 watches share two connections of HTTP/2, and each gets the event', async () => {
    const http2Connections = async () => {
      const metrics = await fetch(`http://${agent.statusAddress}/metrics`);
      return /^culvert_agent_http2_connections (\d+)$/m.exec(await metrics.text())?.[1];
    };
    const query = 'watch=true&fieldSelector=metadata.name%3Dshared';
    const responses = await Promise.all(
      Array.from({ length: 120 }, () => send(`${configMaps}?${query}`)),
    );
    const seen = responses.map(async (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (piece: string) => (text += piece));
      while (!text.includes('ADDED')) await once(response, 'data');
    });
    await ask(configMaps, { method: 'POST', body: configMap('shared') });
    await Promise.all(seen);
    expect(await http2Connections()).toBe('2');
    for (const response of responses) response.destroy();
    await ask(`${configMaps}/shared`, { method: 'DELETE' });
  });

  it('A watch over a WebSocket is switched by the kube-apiserver, and brings events', async () => {
    const client = new RawClient(gateway.address).send(
      [
        `GET /c1${configMaps}?watch=true HTTP/1.1`,
        ...['Host: gateway', 'Origin: http://gateway', `Authorization: Bearer ${userToken}`],
        ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
        ...['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''],
      ].join('\r\n'),
    );
    await client.until('HTTP/1.1 101');
    await client.until('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    await ask(configMaps, { method: 'POST', body: configMap('over-websocket') });
    expect(await client.until('"over-websocket"')).toContain('"type":"ADDED"');
    client.socket.destroy();
  });

  it.each(['websocket', 'SPDY/3.1'])(
    'An exec in a missing pod over %s gets the Status of the kube-apiserver',
    async (protocol) => {
      const path = '/api/v1/namespaces/default/pods/none/exec?command=ls&stdout=true';
      const upgrade = {
        ...{ Connection: 'Upgrade', Upgrade: protocol, 'Sec-WebSocket-Version': '13' },
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol': 'v5.channel.k8s.io',
        'X-Stream-Protocol-Version': 'v4.channel.k8s.io',
      };
      const answer = await ask(path, { headers: upgrade });
      expect(answer.status).toBe(404);
      expect(statusOf(answer)).toMatchObject({ kind: 'Status', reason: 'NotFound' });
    },
  );

  it("A hub user has the rights that the managed cluster's RBAC gives, and no others", async () => {
    expect(await ask(configMaps, { token: 'hub-ann' })).toMatchObject({ status: 200 });
    const refused = await ask('/api/v1/namespaces/kube-system/secrets', { token: 'hub-ann' });
    expect(refused.status).toBe(403);
    expect(statusOf(refused).message).toContain('User "ann" cannot list resource "secrets"');
  });

  it('An agent whose ServiceAccount may not impersonate gets the 403 of the kube-apiserver', async () => {
    const refused = await ask(configMaps, { token: 'hub-ann', cluster: 'weak' });
    expect(refused.status).toBe(403);
    expect(statusOf(refused).message).toMatch(/weak-agent" cannot impersonate resource/);
  });

  it('An agent with --enable-impersonation=false serves tokens of its cluster, and no hub users', async () => {
    expect(await ask(configMaps, { cluster: 'strict' })).toMatchObject({ status: 200 });
    const refused = await ask(configMaps, { token: 'hub-ann', cluster: 'strict' });
    expect(refused.status).toBe(502);
    expect(statusOf(refused)).toMatchObject({
      kind: 'Status',
      message: expect.stringContaining('--enable-impersonation=false'),
    });
  });

  it('A token that neither cluster knows gets a 401', async () => {
    const refused = await ask(configMaps, { token: 'stranger' });
    expect(refused.status).toBe(401);
    expect(statusOf(refused)).toMatchObject({ kind: 'Status' });
  });

  it('A large list is streamed unchanged', async () => {
    const pieces = Array.from({ length: 16 }, (_, at) => `large-${at}`);
    for (const name of pieces) {
      const data = { random: randomBytes(300_000).toString('base64') };
      await ask(configMaps, { method: 'POST', body: configMap(name, data) });
    }
    const [viaGateway, direct] = await Promise.all(
      [false, true].map(async (isDirect) => {
        const hash = createHash('sha256');
        let bytes = 0;
        for await (const piece of await send(configMaps, { isDirect })) {
          hash.update(piece as Buffer);
          bytes += (piece as Buffer).length;
        }
        return { bytes, hash: hash.digest('hex') };
      }),
    );
    expect(viaGateway).toEqual(direct);
    expect(viaGateway!.bytes).toBeGreaterThan(16 * 400_000);
    for (const name of pieces) await ask(`${configMaps}/${name}`, { method: 'DELETE' });
  }, 60_000);

  describe('The token file of the agent', () => {
    it('The agent uses a new token after its token file has changed and the old token has ended', async () => {
      const old = readFileSync(tokenFile, 'utf8');
      const statusOfAnn = async () => (await ask(configMaps, { token: 'hub-ann' })).status;
      expect(await statusOfAnn()).toBe(200);
      await writeFile(tokenFile, await agentToken('next-agent'));
      await api.kubectl(['-n', 'proxies', 'delete', 'serviceaccount', 'agent']);
      // The kube-apiserver knows a token for 10 seconds, and the agent keeps a file as long.
      const statusOfOld = async () =>
        (await ask('/version', { token: old, isDirect: true })).status;
      await expect.poll(statusOfOld, { timeout: 30_000, interval: 500 }).toBe(401);
      await expect.poll(statusOfAnn, { timeout: 30_000, interval: 500 }).toBe(200);
    }, 90_000);
  });

  describe('A restart of the kube-apiserver', () => {
    it('A restart of the kube-apiserver cuts watches visibly, and later requests use new connections', async () => {
      const warm = await Promise.all(Array.from({ length: 8 }, () => ask(configMaps)));
      expect(warm.map(({ status }) => status)).toEqual(warm.map(() => 200));
      const watch = await send(`${configMaps}?watch=true`);
      const cut = once(watch.resume(), 'end').then(
        () => 'complete',
        () => 'cut',
      );
      await api.goAway();
      expect(await cut).toBe('cut');
      const away = await ask(configMaps);
      expect([502, 503]).toContain(away.status);
      expect(statusOf(away)).toMatchObject({ kind: 'Status' });
      await api.comeBack();
      const back = await Promise.all(Array.from({ length: 8 }, () => ask(configMaps)));
      expect(back.map(({ status }) => status)).toEqual(back.map(() => 200));
    }, 90_000);
  });
});
