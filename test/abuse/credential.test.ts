import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { echo, openClient } from '../../testkit/world/front-client.ts';
import { connectTo, RawWebSocket } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { logged, startWorld, type World } from '../../testkit/world/world.ts';
import { addressOf, type Address, ask } from '../../testkit/network/stranger.ts';

describe('A stolen credential of a cluster', () => {
  let target: TestTarget;
  let world: World;
  let status: Address;

  beforeAll(async () => {
    target = await startTarget({ mode: 'echo' });
    world = await startWorld({ plain: true, commonArgs: ['--status-listen', '127.0.0.1:0'] });
    status = (await logged(world.broker, 'status listens', 'address')) as Address;
  }, 60_000);
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await target?.close();
  });

  it('A stolen credential of a cluster gets a bounded number of tunnels, and agents of other clusters can connect', async () => {
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'greedy' });
    using tunnels = new DisposableStack();
    const refusals: string[] = [];
    const open = async (cluster: string, agent: string, bearer: string): Promise<void> => {
      const headers = {
        Authorization: `Bearer ${bearer}`,
        'Culvert-Cluster': cluster,
        'Culvert-Agent': agent,
      };
      try {
        const socket = await connectTo(world.brokerUrl, '');
        tunnels.use(await RawWebSocket.open(socket, '/v1/agent', headers));
      } catch (thrown) {
        refusals.push(String(thrown));
      }
    };
    for (let at = 0; at < 200; at++) await open('greedy', `agent-${at}`, token);
    expect(refusals.length).toBeGreaterThanOrEqual(200 - 64);
    for (const refusal of refusals) expect(refusal).toMatch(/ 503 [^]*retry-after: \d+/);
    expect(refusals.at(-1)).toMatch(/cluster greedy/);

    refusals.length = 0;
    const other = await world.tokens.issue({ kind: 'agent', cluster: 'modest' });
    await open('modest', 'agent-1', other);
    expect(refusals).toEqual([]);
    const client = await openClient(world.front);
    const connection = await client.dial(`cluster1:${target.port}`);
    connection.on('error', () => {});
    expect(await echo(connection, 'served')).toBe('served');
    client.close();
    const { body } = await ask(status, '/metrics');
    expect(body).toMatch(/culvert_broker_rejected_connections_total\{status="503"\} [1-9]/);
  });

  it('A stolen credential of a dialer cannot use up the accept rate of other clients either', async () => {
    const token = await world.tokens.issue({ kind: 'dialer', name: 'greedy' });
    const dialers = Array.from({ length: 400 }, async () => {
      const socket = await connectTo(world.brokerUrl, '');
      const headers = { Authorization: `Bearer ${token}` };
      return RawWebSocket.open(socket, '/v1/clusters/none/session', headers).catch(() => socket);
    });
    const other = await world.tokens.issue({ kind: 'agent', cluster: 'patient' });
    const headers = {
      Authorization: `Bearer ${other}`,
      'Culvert-Cluster': 'patient',
      'Culvert-Agent': 'agent-1',
    };
    await Promise.all(dialers);
    using tunnel = await RawWebSocket.open(
      await connectTo(world.brokerUrl, ''),
      '/v1/agent',
      headers,
    );
    expect(tunnel.address).toBeDefined();
    for (const dialer of await Promise.all(dialers)) {
      if (dialer instanceof RawWebSocket) dialer[Symbol.dispose]();
      else dialer.destroy();
    }
    expect(await ask(addressOf(world.brokerUrl), '/healthz')).toMatchObject({ status: 200 });
  });
});
