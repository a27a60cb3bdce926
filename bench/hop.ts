import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { silentLogger } from '../src/base/log/logger.ts';
import { RedisDirectory } from '../src/broker/redis/redis-directory.ts';
import type { DebianProgram } from '../testkit/ground/debian-programs.ts';
import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { startRedis } from '../testkit/ground/services.ts';
import { freePort, startProgram, type Program } from '../testkit/processes/process.ts';
import { loggedLine, startCulvert, TestTokens } from '../testkit/world/world.ts';
import { cpuSeconds } from './cpu.ts';
import { runLoad } from './load.ts';
import type { Peer } from './peers.ts';
import { median, type ScaleRow } from './report.ts';

const registrations = 10_000;
const lookups = 20_000;
const repetitions = 5;

/** The cost of a hop: throughput and dials through a replica without the agent, and the owner. */
export async function measureHop(go: GoPrograms, redis: DebianProgram): Promise<ScaleRow[]> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-hop-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const store = stack.use(await startRedis(redis));
  const tokens = await TestTokens.create(directory);
  const keyFile = join(directory, 'replica.key');
  await writeFile(keyFile, crypto.randomUUID());
  const target = stack.use(startProgram({ command: go.load, args: ['target'], name: 'target' }));
  const [, targetPort] = await target.waitForLine(/"port":(\d+)/);
  const start = (command: string, ...args: string[]): Program =>
    stack.use(startCulvert(command, args, { CULVERT_LOG_LEVEL: 'info' }));

  const startReplica = async (): Promise<{ url: string; program: Program }> => {
    const port = await freePort();
    const url = `ws://127.0.0.1:${port}`;
    const program = start(
      'broker',
      ...['--listen', `127.0.0.1:${port}`, '--token-public-key', tokens.publicKeyFile],
      ...['--redis-url', `redis://127.0.0.1:${store.port}`, '--replica-key-file', keyFile],
      ...['--replica-address', url],
    );
    await loggedLine(program, 'broker listens');
    return { url, program };
  };
  const [owner, other] = [await startReplica(), await startReplica()];
  const agentToken = await tokens.issue({ kind: 'agent', cluster: 'cluster1' });
  const agent = start(
    'agent',
    ...['--broker-url', owner.url, '--cluster', 'cluster1', '--tunnels', '1'],
    ...['--token-file', await tokens.file(agentToken), '--kube-apiserver', '127.0.0.1'],
  );
  await loggedLine(agent, 'connected to the broker');
  const dialerToken = await tokens.file(await tokens.issue({ kind: 'dialer', name: 'bench' }));
  const peerAt = async (name: string, entry: { url: string; program: Program }): Promise<Peer> => {
    const socket = join(directory, `${name}.sock`);
    const bridge = start(
      'bridge',
      ...['--broker-url', entry.url, '--token-file', dialerToken, '--konnectivity-uds', socket],
    );
    await loggedLine(bridge, 'konnectivity bridge listens');
    const to = ['--to', `cluster1:${targetPort}`, '--counter', `127.0.0.1:${targetPort}`];
    return {
      name,
      loadFlags: ['--front', `unix:${socket}`, ...to],
      serverPids: [owner.program.pid, other.program.pid],
      agentPids: [agent.pid],
    };
  };
  const peers = [await peerAt('owner', owner), await peerAt('other', other)] as const;
  const samples = new Map<string, number[]>();
  const add = (name: string, value: number): void => {
    samples.set(name, [...(samples.get(name) ?? []), value]);
  };
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const peer of peers) {
      const time = ['--seconds', '1', '--warmup', '0.5'];
      add(`up ${peer.name}`, (await runLoad(go, peer, 'blast', time)).mbPerSecond);
      add(`down ${peer.name}`, (await runLoad(go, peer, 'drain', time)).mbPerSecond);
      add(`dial ${peer.name}`, (await runLoad(go, peer, 'dial', ['--count', '200'])).p50Micros);
    }
  }
  const at = (name: string): number => median(samples.get(name) ?? []);
  return [
    { figure: 'up MB/s, at the owner', value: at('up owner') },
    { figure: 'up MB/s, forwarded', value: at('up other') },
    { figure: 'down MB/s, at the owner', value: at('down owner') },
    { figure: 'down MB/s, forwarded', value: at('down other') },
    { figure: 'dial p50 us, at the owner', value: at('dial owner') },
    { figure: 'dial p50 us, forwarded', value: at('dial other') },
    { figure: 'dials per second, forwarded, one after the other', value: 1e6 / at('dial other') },
  ];
}

/** The cost of the directory: claims, heartbeats, and look-ups with and without the cache. */
export async function measureDirectory(redis: DebianProgram): Promise<ScaleRow[]> {
  await using store = await startRedis(redis);
  const options = {
    redis: `redis://127.0.0.1:${store.port}`,
    clock: systemClock,
    log: silentLogger,
    heartbeatMs: 2_000,
  };
  const mine = await RedisDirectory.connect({ ...options, replica: 'r1' });
  const theirs = await RedisDirectory.connect({ ...options, replica: 'r2' });
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startedAt = performance.now();
    await work();
    return performance.now() - startedAt;
  };
  const claim = (i: number) =>
    mine.claim({ cluster: `c${i}`, agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' });
  const claimMs = await timed(() =>
    Promise.all(Array.from({ length: registrations }, (_, i) => claim(i))),
  );
  const cpuBefore = cpuSeconds([process.pid]);
  const redisBefore = cpuSeconds([store.program.pid]);
  await new Promise((resolve) => setTimeout(resolve, 3 * options.heartbeatMs));
  const rounds = 3;
  const heartbeatCpuMs = ((cpuSeconds([process.pid]) - cpuBefore) / rounds) * 1000;
  const redisCpuMs = ((cpuSeconds([store.program.pid]) - redisBefore) / rounds) * 1000;
  const uncachedMs = await timed(async () => {
    for (let i = 0; i < 2_000; i++) await theirs.locate(`c${i}`);
  });
  const cachedMs = await timed(async () => {
    for (let i = 0; i < lookups; i++) await theirs.locate('c1');
  });
  await Promise.all([mine.close(), theirs.close()]);
  return [
    { figure: `ms for ${registrations} registrations in Redis`, value: claimMs },
    {
      figure: `broker CPU ms of a heartbeat round, ${registrations} claims`,
      value: heartbeatCpuMs,
    },
    { figure: `Redis CPU ms of a heartbeat round, ${registrations} claims`, value: redisCpuMs },
    { figure: 'us of a route look-up, uncached', value: (uncachedMs / 2_000) * 1000 },
    { figure: 'us of a route look-up, cached', value: (cachedMs / lookups) * 1000 },
  ];
}
