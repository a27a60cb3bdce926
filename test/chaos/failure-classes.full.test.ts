/*
 * The failures that tunnel brokers have again and again. Those that need real processes are here; the others:
 *
 *   half-dead TCP, to the millisecond  test/websocket/keep-alive.test.ts, test/dialer/resume.test.ts
 *   slow reader                        test/e2e/go-client.test.ts, test/tunnel/flow-control.test.ts
 *   leak per aborted stream            test/e2e/leaks.test.ts
 *   60 s idle kill                     test/e2e/nginx-idle.full.test.ts
 *   credential rotation                test/agent/credential-rotation.test.ts
 *   version skew                       test/broker/version-skew.test.ts, test/tunnel/message.test.ts
 *   301, 403, 502, HTML (sentences)    test/websocket/connect.test.ts, test/agent/tunnel-reconnector.test.ts
 *
 * Those below that a virtual clock can show as well: test/dialer/failure-classes.test.ts. Bad input: test/acceptor/bad-input.test.ts,
 * test/broker/{poisoned-entry,stale-epoch,replica-authenticator}.test.ts.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startRedis } from '../../testkit/ground/services.ts';
import { startFaultyProxy } from '../../testkit/network/faulty-proxy.ts';
import { Fleet } from '../../testkit/world/fleet.ts';
import { CheckedStream } from '../../testkit/chaos/checked-stream.ts';
import { PacedTarget } from '../../testkit/chaos/paced-target.ts';
import { forgettable, surviveForgetting } from '../../testkit/chaos/half-dead.ts';
import { brokerStatuses, liveTunnels } from '../../testkit/chaos/resources.ts';
import { dialThrough } from '../../testkit/chaos/world.ts';

const addresses = ['127.0.0.1'];
const fast = 10 * 1024 * 1024;
const stormAgents = 200;

describeWith({ redis: await ground.debian('redis-server') }, 'Failure classes', ({ redis }) => {
  let stack: AsyncDisposableStack;
  let fleet: Fleet;
  let echo: PacedTarget;
  let token: string;
  /** They take a minute, so they begin before the others and are waited for last. */
  const halfDead = new Map<string, ReturnType<typeof surviveForgetting>>();
  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    const server = stack.use(await startRedis(redis));
    // The storm is of one cluster.
    const brokerArgs = [
      '--accept-rate',
      '60',
      '--drain-timeout',
      '10s',
      '--max-tunnels-per-cluster',
      '200',
    ];
    fleet = stack.use(
      await Fleet.start({ brokers: 3, redisPort: server.port, agents: {}, brokerArgs }),
    );
    echo = stack.use(await PacedTarget.echo(addresses));
    token = await fleet.tokens.issue({ kind: 'dialer', name: 'test' });
    // These have their own brokers, because the other tests stop theirs.
    const apart = stack.use(await Fleet.start({ brokers: 2, redisPort: server.port, agents: {} }));
    for (const whose of forgettable) {
      const survived = surviveForgetting(apart, whose);
      survived.catch(() => {});
      halfDead.set(whose, survived);
    }
  });
  afterAll(() => stack?.disposeAsync());

  const dialer = (port = fleet.balancer.port): PooledDialer => dialThrough(port, token);

  /** Dials the echo target of a cluster; resolves when some bytes are back. */
  const isServed = async (from: PooledDialer, cluster: string): Promise<boolean> => {
    const stream = new CheckedStream(from, cluster, echo.port);
    await stream.opened;
    await stream.send(1000, fast);
    stream.fin();
    await stream.closed;
    return stream.receivedBytes === 1000;
  };

  const failureOf = async (work: Promise<unknown>): Promise<TunnelError> => {
    const thrown: unknown = await work.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (thrown instanceof TunnelError) return thrown;
    throw new Error('it went well, or failed otherwise', { cause: thrown });
  };

  const untilTunnels = async (cluster: string, holds: (names: readonly string[]) => boolean) => {
    for (;;) {
      const names = liveTunnels(await brokerStatuses(fleet)).filter((name) =>
        name.startsWith(`${cluster}/`),
      );
      if (holds(names)) return names;
      await sleep(200);
    }
  };

  it('tunnel gone while the replica lives: dials fail with no_agent and do not wait for a timeout', async () => {
    const agent = await fleet.startAgent('gone', 'gone-0');
    await using from = dialer();
    expect(await isServed(from, 'gone')).toBe(true);
    agent.kill('SIGKILL');
    await untilTunnels('gone', (names) => names.length === 0);
    for (const { port } of fleet.brokers) {
      await using direct = dialer(port);
      expect(await failureOf(isServed(direct, 'gone'))).toMatchObject({ code: 'no_agent' });
    }
  });

  it(
    'dials that pile up: all dials to a frozen agent end with timeout and leave nothing behind',
    { timeout: 40_000 },
    async () => {
      const agent = await fleet.startAgent('frozen', 'frozen-0');
      await using from = dialer();
      expect(await isServed(from, 'frozen')).toBe(true);
      agent.kill('SIGSTOP');
      const failures = await Promise.all(
        Array.from({ length: 50 }, () => failureOf(isServed(from, 'frozen'))),
      );
      expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['timeout']));
      expect(from.streamCount).toBe(0);
      agent.kill('SIGCONT');
      expect(await isServed(from, 'frozen')).toBe(true);
    },
  );

  it('stale presence: a dial finds the agent though the directory still names a dead replica', async () => {
    const [first, second] = fleet.brokers;
    await fleet.startAgent('stale', 'stale-0', { brokerPort: first!.port });
    first!.program.kill('SIGKILL');
    await first!.program.exited;
    const moved = await fleet.startAgent('stale', 'stale-1', { brokerPort: second!.port });
    await using from = dialer(second!.port);
    expect(await isServed(from, 'stale')).toBe(true);
    await first!.restart();
    moved.kill('SIGKILL');
  });

  it(
    'wrong shutdown order: a broker that drains lets agents and dialers move to another broker first',
    { timeout: 90_000 },
    async () => {
      const agents = await Promise.all(
        [0, 1, 2].map((at) => fleet.startAgent('drained', `drained-${at}`)),
      );
      await using from = dialer();
      const stream = new CheckedStream(from, 'drained', echo.port);
      await stream.opened;
      // Each with a session of its own, which the load balancer may bring to the broker that leaves.
      const over = new AbortController();
      const dialOn = async (): Promise<void> => {
        while (!over.signal.aborted) {
          await using fresh = dialer();
          expect(await isServed(fresh, 'drained')).toBe(true);
          // Fewer than a broker accepts in a second (--accept-rate), including forwarded sessions.
          await sleep(40);
        }
      };
      const dials = Promise.all(Array.from({ length: 4 }, dialOn));
      dials.catch(() => {});
      for (const broker of fleet.brokers) {
        const { program, port } = broker;
        // Each of them: docs/operations.md asks for it.
        await untilTunnels('drained', (names) =>
          [0, 1, 2].every((at) =>
            names.some((name) => name.includes(`/drained-${at}@`) && !name.endsWith(`-${port}`)),
          ),
        );
        program.kill('SIGTERM');
        expect(await program.exited).toEqual({ code: 0, signal: null });
        await broker.restart();
      }
      over.abort();
      await dials;
      await stream.send(100_000, fast);
      stream.fin();
      await stream.closed;
      expect(stream.receivedBytes).toBe(100_000);
      for (const agent of agents) agent.kill('SIGKILL');
    },
  );

  it(
    `storm: ${stormAgents} agents that lose their connections at once are all connected again`,
    { timeout: 60_000 },
    async () => {
      await using agents = new AsyncDisposableStack();
      const file = await fleet.tokens.file(
        await fleet.tokens.issue({ kind: 'agent', cluster: 'storm' }),
      );
      const url = `ws://127.0.0.1:${fleet.balancer.port}`;
      const flags = [
        '--broker-url',
        url,
        '--cluster',
        'storm',
        '--token-file',
        file,
        '--tunnels',
        '1',
      ];
      const started = await Promise.all(
        Array.from({ length: stormAgents }, async (_, at) => {
          const { options } = readAgentOptions([...flags, '--agent-id', `storm-${at}`], {});
          return agents.use(await startAgent(options, { log: silentLogger }));
        }),
      );
      await Promise.all(started.map(({ connected }) => connected));
      const before = await untilTunnels('storm', (names) => names.length === stormAgents);
      expect(new Set(before.map((name) => name.split('@')[0])).size).toBe(stormAgents);
      fleet.balancer.cut();
      await untilTunnels('storm', (names) => names.length < stormAgents);
      const after = await untilTunnels('storm', (names) => names.length === stormAgents);
      expect(new Set(after.map((name) => name.split('@')[0])).size).toBe(stormAgents);
    },
  );

  it(
    'upgrade answered by 301, 502 or HTML: the agent logs the answer, and connects after the fault has ended',
    { timeout: 40_000 },
    async () => {
      const answers = [
        'HTTP/1.1 301 Moved Permanently\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n',
        'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Login</h1>\r\n',
      ];
      const server = createServer((socket) => {
        const answer = answers.shift();
        socket.on('error', () => {});
        if (answer !== undefined) return socket.once('data', () => socket.end(answer));
        const broker = connect(fleet.balancer.port, '127.0.0.1');
        broker.on('error', () => {}).on('close', () => socket.destroy());
        return socket
          .on('close', () => broker.destroy())
          .pipe(broker)
          .pipe(socket);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const agent = await fleet.startAgent('behind', 'behind-0', { brokerPort: port });
      for (const status of [301, 502, 200]) expect(agent.output).toContain(`"status":${status}`);
      await using from = dialer();
      expect(await isServed(from, 'behind')).toBe(true);
      agent.kill('SIGKILL');
      await agent.exited;
      server.close();
    },
  );

  it('duplicate registration: the newer tunnel of an agent wins at once, while the older tunnel is still open at its replica', async () => {
    const [first, second] = fleet.brokers;
    await using network = await startFaultyProxy(first!.port);
    const old = await fleet.startAgent('twice', 'twice-0', { brokerPort: network.port });
    network.silence();
    old.kill('SIGKILL');
    await old.exited;
    const replicaOf = (port: number): string => `twice/twice-0@broker-${port}`;
    expect(await untilTunnels('twice', () => true)).toEqual([replicaOf(first!.port)]);
    await fleet.startAgent('twice', 'twice-0', { brokerPort: second!.port });
    await untilTunnels('twice', (names) => names.join() === replicaOf(second!.port));
    for (const { port } of fleet.brokers) {
      await using direct = dialer(port);
      expect(await isServed(direct, 'twice')).toBe(true);
    }
  });

  it('lost stdin EOF: a half-close on a dead network arrives later, and so does the answer', async () => {
    const agent = await fleet.startAgent('eof', 'eof-0');
    await using network = await startFaultyProxy(fleet.balancer.port);
    await using from = dialer(network.port);
    const script = { sendBytes: 100_000, sendAfter: 'fin', bytesPerSecond: fast } as const;
    await using target = await PacedTarget.start(addresses, script);
    const stream = new CheckedStream(from, 'eof', target.port);
    await stream.opened;
    network.silence();
    await stream.send(5000, fast);
    stream.fin();
    network.cut();
    network.heal();
    await stream.closed;
    expect(stream.receivedBytes).toBe(100_000);
    expect(await target.report).toMatchObject({ receivedBytes: 5000, end: 'fin' });
    agent.kill('SIGKILL');
  });

  it.each(forgettable)(
    'half-dead TCP: pings find connections that a firewall has forgotten, and their streams continue (%s)',
    { timeout: 120_000 },
    async (whose) => {
      const { receivedBytes, resumedCount } = await halfDead.get(whose)!;
      expect(receivedBytes).toBe(100_000);
      expect(resumedCount).toBeGreaterThan(0);
    },
  );
});
