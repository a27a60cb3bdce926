import { once } from 'node:events';
import { connect as connectHttp2, createServer, type ClientHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { echo, ended, isServed, openClient } from '../../testkit/world/front-client.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { loggedLine, startWorld, timesLogged, type World } from '../../testkit/world/world.ts';

const warning = 'two processes have the same agent id';

/** Starts another agent and waits until it is connected to the broker. */
async function addAgent(
  world: World,
  env: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
  const agent = world.startAgent(await world.tokens.file(token), { env });
  await loggedLine(agent, 'connected to the broker');
  return agent;
}

/** An HTTP/2 server whose answers need no time. */
async function startHttp2Target() {
  const server = createServer((_, response) => void response.end('ok'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { to: `cluster1:${port}`, [Symbol.dispose]: () => void server.close() };
}

/** Sends requests as kube-apiserver does: over one connection, and a new one after its end. */
class MultiplexingClient {
  readonly #client: KonnectivityClient;
  readonly #to: string;
  #session: Promise<ClientHttp2Session> | undefined;
  connections = 0;

  constructor(client: KonnectivityClient, to: string) {
    this.#client = client;
    this.#to = to;
  }

  /** @throws Error the connection has ended before the answer */
  async get(): Promise<void> {
    this.#session ??= this.#connect();
    const request = (await this.#session).request({ ':path': '/' });
    request.resume();
    await once(request, 'end');
    if (request.rstCode !== 0) throw new Error(`reset with ${request.rstCode}`);
  }

  async close(): Promise<void> {
    (await this.#session)?.destroy();
  }

  async #connect(): Promise<ClientHttp2Session> {
    const connection = await this.#client.dial(this.#to);
    this.connections++;
    const session = connectHttp2(`http://${this.#to}`, { createConnection: () => connection });
    session.on('error', () => {});
    session.on('close', () => (this.#session = undefined));
    return session;
  }
}

describe.each([false, true])(
  'Two agent processes of a cluster (bridge apart: %s)',
  { timeout: 90_000 },
  (bridgeApart) => {
    it('Two agents with the same agent id serve side by side, and each may be killed and started again', async () => {
      const agentArgs = ['--allow', '*.svc:*', '--agent-id', 'the-same'];
      await using world = await startWorld({ bridgeApart, agentArgs });
      await using target = await startTarget({ mode: 'echo' });
      await using client = await openClient(world.front);
      const to = `cluster1:${target.port}`;
      const open = async () => {
        const connection = await client.dial(to);
        connection.on('error', () => {});
        return connection;
      };
      const first = world.agent;
      const onFirst = await open();
      expect(await echo(onFirst, 'before')).toBe('before');
      const second = await addAgent(world);
      await loggedLine(world.broker, warning);
      expect(await echo(onFirst, 'still there')).toBe('still there');

      first.kill('SIGKILL');
      await first.exited;
      expect(await isServed(client, to)).toBe(true);
      await ended(onFirst);

      const onSecond = await open();
      expect(await echo(onSecond, 'on the second')).toBe('on the second');
      const third = await addAgent(world);
      expect(await echo(onSecond, 'still there')).toBe('still there');
      second.kill('SIGKILL');
      await second.exited;
      expect(await isServed(client, to)).toBe(true);
      await ended(onSecond);
      third.kill('SIGKILL');
      await third.exited;
      await addAgent(world);
      expect(await isServed(client, to)).toBe(true);
      expect(timesLogged(world.broker, warning)).toBe(1);
    });

    it('Connections spread over both agents, so that the second agent adds throughput', async () => {
      await using world = await startWorld({ bridgeApart });
      await using target = await startTarget({ mode: 'echo' });
      await using client = await openClient(world.front);
      const second = await addAgent(world);
      for (let at = 0; at < 24; at++) {
        const connection = await client.dial(`cluster1:${target.port}`);
        connection.on('error', () => {});
        expect(await echo(connection, 'word')).toBe('word');
      }
      const dials = [world.agent, second].map((agent) => timesLogged(agent, 'target dialed'));
      expect(Math.min(...dials)).toBeGreaterThanOrEqual(6);
      expect(dials[0]! + dials[1]!).toBe(24);
    });

    it('Connections to a target that only one agent may reach are all served', async () => {
      await using world = await startWorld({ bridgeApart });
      await using target = await startTarget({ mode: 'echo' });
      await using client = await openClient(world.front);
      const barred = await addAgent(world, { CULVERT_ENABLE_KUBE_API_PROXY: 'false' });
      for (let at = 0; at < 12; at++) {
        const connection = await client.dial(`cluster1:${target.port}`);
        connection.on('error', () => {});
        expect(await echo(connection, 'word')).toBe('word');
      }
      expect(timesLogged(barred, 'destination refused')).toBeGreaterThanOrEqual(1);
    });

    it('Connections through a killed agent end at once if another agent serves, without the grace of a lone agent', async () => {
      await using world = await startWorld({ bridgeApart });
      const first = world.agent;
      using target = await startHttp2Target();
      await using client = await openClient(world.front);
      const requests = new MultiplexingClient(client, target.to);
      await requests.get();
      await addAgent(world);
      // Long enough for the broker to know that the first agent connected earlier.
      for (let i = 0; i < 20; i++) {
        await requests.get();
        await sleep(100);
      }
      expect(requests.connections).toBe(1);
      first.kill('SIGKILL');
      const killedAtMs = performance.now();
      for (let isBack = false; !isBack; await sleep(20)) {
        isBack = await requests.get().then(
          () => true,
          () => false,
        );
      }
      const gapMs = performance.now() - killedAtMs;
      expect(requests.connections).toBe(2);
      expect(gapMs).toBeLessThan(4_000);
      // A session that waits for its agent logs this.
      expect(timesLogged(world.bridge, 'session lost its link')).toBe(0);
      await requests.close();
    });
  },
);
