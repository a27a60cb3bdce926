import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { generateTokenKeyPair, issueToken } from '../../src/base/tokens/enrolment-token.ts';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { startLocalWorker, type LocalWorker } from '../../scripts/local-worker.ts';
import {
  connectTo,
  handshakeText,
  RawWebSocket,
  type Headers,
} from '../../testkit/link/raw-websocket.ts';
import { EdgeBroker } from './edge-broker.ts';

const agentOf = (cluster: string): Headers => ({
  'Culvert-Cluster': cluster,
  'Culvert-Agent': 'a',
});
const session = '/v1/clusters/c1/session';

/** The status that answers a WebSocket handshake, and the headers behind it. */
async function shake(worker: LocalWorker, path: string, headers: Headers = {}): Promise<string> {
  const { hostname: host, port } = new URL(worker.url);
  const socket = connect({ host, port: Number(port) });
  socket.write(handshakeText(path, headers));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString('latin1').slice('HTTP/1.1 '.length);
}

const get = (worker: LocalWorker, path: string, headers: Headers = {}) =>
  fetch(`${worker.url.replace('ws', 'http')}${path}`, { headers });

describe('Admission to the Worker', () => {
  let broker: EdgeBroker;
  let worker: LocalWorker;

  beforeAll(async () => {
    broker = await EdgeBroker.start();
    ({ worker } = broker);
  }, 30_000);
  afterAll(() => broker?.[Symbol.asyncDispose]());

  const bearer = async (subject: TokenSubject, ttlMs?: number): Promise<Headers> => ({
    Authorization: `Bearer ${await broker.issueToken(subject, ttlMs)}`,
  });

  const openRaw = async (path: string, headers: Headers) =>
    RawWebSocket.open(await connectTo(worker.url, ''), path, headers);

  it('The Worker admits an agent as the cluster that its token names, with the sub-protocol', async () => {
    const headers = { ...agentOf('c1'), ...(await bearer({ kind: 'agent', cluster: 'c1' })) };
    const answer = await shake(worker, '/v1/agent', headers);
    expect(answer).toMatch(/^101 /);
    expect(answer).toMatch(/sec-websocket-protocol: culvert\.v1/i);
  });

  it('The Worker answers 401 to a missing, malformed, expired or foreign token', async () => {
    const { privateKeyPem } = await generateTokenKeyPair();
    const subject = { kind: 'agent', cluster: 'c1' } as const;
    const foreign = (await issueToken(privateKeyPem, subject, 60_000)).reveal();
    const shown: Headers[] = [
      {},
      { Authorization: 'Bearer a.b.c' },
      { Authorization: `Bearer ${foreign}` },
      await bearer(subject, -3_600_000),
    ];
    for (const headers of shown) {
      const answer = await shake(worker, '/v1/agent', { ...agentOf('c1'), ...headers });
      expect(answer).toMatch(/^401 /);
      expect(await shake(worker, session, headers)).toMatch(/^401 /);
    }
    expect(worker.logLines().join('\n')).not.toContain(foreign);
  });

  it('The Worker answers 403 to tokens of other clients', async () => {
    const agent = await bearer({ kind: 'agent', cluster: 'c1' });
    const dialer = await bearer({ kind: 'dialer', name: 'd' });
    expect(await shake(worker, '/v1/agent', { ...agentOf('c2'), ...agent })).toMatch(/^403 /);
    expect(await shake(worker, '/v1/agent', { ...agentOf('c1'), ...dialer })).toMatch(/^403 /);
    expect(await shake(worker, session, agent)).toMatch(/^403 /);
    expect((await get(worker, '/v1/clusters/c1/status', agent)).status).toBe(403);
  });

  it('The Worker ignores a forged header of an admitted client', async () => {
    const admitted = { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 };
    const forged = { 'Culvert-Admitted': encodeURIComponent(JSON.stringify(admitted)) };
    expect(await shake(worker, session, forged)).toMatch(/^401 /);
    const dialer = await bearer({ kind: 'dialer', name: 'd' });
    using raw = await openRaw(session, { ...forged, ...dialer });
    // What an agent says first, and a dialer must not.
    const hello = encodeMessage({ ...protocolVersion, software: 'test' });
    raw.send({ payload: encodeFrame(FrameType.hello, 0, 0, hello) });
    expect(await raw.closeReason).toBe('protocol_error: HELLO of a dialer names no session');
  });

  it('The Worker answers 426 without an upgrade, and 400 to a malformed name or protocol', async () => {
    const dialer = await bearer({ kind: 'dialer', name: 'd' });
    expect((await get(worker, '/v1/agent')).status).toBe(426);
    expect((await get(worker, session, dialer)).status).toBe(426);
    expect(await shake(worker, '/v1/clusters/C_1/session', dialer)).toMatch(/^400 /);
    const other = { 'Sec-WebSocket-Protocol': 'chat' };
    expect(await shake(worker, session, { ...dialer, ...other })).toMatch(/^400 /);
  });

  it('The Worker answers 400 to an ambiguous path', async () => {
    for (const path of ['//healthz', '/v1//agent', '/v1%2fagent', '/v1/%61gent', '/v1%5cagent']) {
      expect(await shake(worker, path, agentOf('c1'))).toMatch(/^400 /);
    }
    // workerd and the network in front of it resolve these paths before the Worker sees them.
    expect(await shake(worker, '/v1/agent/\\..\\..\\..\\nowhere', agentOf('c1'))).toMatch(
      /^40[04] /,
    );
  });

  it("The Worker answers 409 to a second tunnel of an agent's process, because there is no other replica", async () => {
    const token = await bearer({ kind: 'agent', cluster: 'c3' });
    const process = { ...agentOf('c3'), ...token, 'Culvert-Instance': 'one' };
    using raw = await openRaw('/v1/agent', process);
    const hello = encodeMessage({ ...protocolVersion, software: 'test' });
    raw.send({ payload: encodeFrame(FrameType.hello, 0, 0, hello) });
    const second = { ...process, 'Culvert-Tunnel': '1' };
    await expect.poll(() => shake(worker, '/v1/agent', second)).toMatch(/^409 /);
    const other = { ...second, 'Culvert-Instance': 'two' };
    expect(await shake(worker, '/v1/agent', other)).toMatch(/^101 /);
  });

  it('The Worker answers a close frame, so that the other end does not wait', async () => {
    using raw = await openRaw(session, await bearer({ kind: 'dialer', name: 'd' }));
    raw.send({ first: 0x88, payload: Uint8Array.of(0x03, 0xe8) });
    expect(await raw.closeReason).toBe('');
  });

  it('The Worker is healthy and ready, and tells where the status is', async () => {
    expect((await get(worker, '/healthz')).status).toBe(200);
    expect((await get(worker, '/readyz')).status).toBe(200);
    expect((await get(worker, '/nowhere')).status).toBe(404);
    const answer = await get(worker, '/v1/clusters');
    expect(answer.status).toBe(501);
    expect(await answer.json()).toMatchObject({ code: 'not_here' });
  });

  it('The Worker shows the status of a cluster to dialers, also under its alias', async () => {
    await broker.agent('cluster1', { agentId: 'seen' });
    const dialer = await bearer({ kind: 'dialer', name: 'd' });
    const alias = 'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385';
    for (const name of ['cluster1', alias]) {
      const answer = await get(worker, `/v1/clusters/${name}/status`, dialer);
      expect(await answer.json()).toMatchObject({
        clusters: [{ cluster: 'cluster1', agents: [{ agent: 'seen' }] }],
      });
    }
    expect((await get(worker, '/v1/clusters/cluster1/status')).status).toBe(401);
  });

  it('The Worker refuses an agent of a cluster that is named like the alias of another', async () => {
    const alias = await clusterAlias('cluster2');
    const shown = await bearer({ kind: 'agent', cluster: 'cluster2' });
    expect(await shake(worker, '/v1/agent', { ...agentOf(alias), ...shown })).toMatch(/^400 /);
  });
});

describe('The variables of the Worker', () => {
  async function withWorker<T>(
    vars: Record<string, string>,
    use: (worker: LocalWorker) => Promise<T>,
  ): Promise<T> {
    await using worker = await startLocalWorker(vars);
    return await use(worker);
  }

  it('The Worker without a key refuses all clients with the reason', async () => {
    await withWorker({}, async (worker) => {
      const answer = await shake(worker, '/v1/agent', agentOf('c1'));
      expect(answer).toMatch(/^503 /);
      const refused = await get(worker, '/readyz');
      expect(refused.status).toBe(503);
      expect(await refused.text()).toContain('CULVERT_TOKEN_PUBLIC_KEY is not set');
      expect((await get(worker, '/healthz')).status).toBe(200);
    });
  });

  it('The Worker with CULVERT_OPEN admits all clients up to the accept rate', async () => {
    const vars = { CULVERT_OPEN: 'true', CULVERT_ACCEPT_RATE: '1' };
    await withWorker(vars, async (worker) => {
      expect(await shake(worker, '/v1/agent', agentOf('c1'))).toMatch(/^101 /);
      const answers = await Promise.all([session, session].map((path) => shake(worker, path)));
      expect(answers.join()).toMatch(/503 [^]*retry-after: [1-9]/i);
    });
  });

  it('The Worker with a key requires a token, whatever the other variables are', async () => {
    const { publicKeyPem } = await generateTokenKeyPair();
    const vars = { CULVERT_TOKEN_PUBLIC_KEY: publicKeyPem, CULVERT_OPEN: 'true' };
    await withWorker(vars, async (worker) => {
      expect(await shake(worker, '/v1/agent', agentOf('c1'))).toMatch(/^401 /);
    });
  });
});
