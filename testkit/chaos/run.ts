import { setTimeout as sleep } from 'node:timers/promises';
import type { DebianProgram } from '../ground/debian-programs.ts';
import type { GoPrograms } from '../ground/go-programs.ts';
import { checkLeaks } from './aftermath.ts';
import { inflict, victimOf } from './faults.ts';
import { Load } from './load.ts';
import { Random } from './random.ts';
import { FaultRecord, judge, type Report } from './report.ts';
import { MemorySampler, settledSockets } from './resources.ts';
import { longLimits, schedule, shortLimits } from './schedule.ts';
import { codeOf } from './transfers.ts';
import { ChaosWorld } from './world.ts';

/** A run of at least this length has long faults, too: a minute without Redis, dead connections. */
const longFromMs = 240_000;
const sampleMs = 2_000;
/** Streams that are open after the faults must end within this time. */
const finishLimitMs = 120_000;

export interface ChaosOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly go: GoPrograms;
  readonly redis: DebianProgram;
  readonly log: (line: string) => void;
}

/** Runs the processes under load through the faults of a seed, and reports the results. */
export async function runChaos({
  seed,
  durationMs,
  go,
  redis,
  log,
}: ChaosOptions): Promise<Report> {
  const beganMs = performance.now();
  const say = (text: string): void =>
    log(`${((performance.now() - beganMs) / 1000).toFixed(1).padStart(6)} s  ${text}`);
  await using world = await ChaosWorld.start(redis);
  const baseline = await settledSockets(world);
  say(
    `seed ${seed}: 3 brokers, ${world.agents.length} agents, a bridge, Redis on ${world.redis.port}`,
  );

  const load = new Load(world, go, new Random(seed + 1));
  const memory = new MemorySampler();
  const sampling = new AbortController();
  const sampler = sampleMemory(world, memory, sampling.signal);
  await load.start(durationMs);
  await sleep(1_000);

  const records: FaultRecord[] = [];
  const complaints: string[] = [];
  const size = { brokers: 3, agents: world.agents.length, dialers: world.dialers.length };
  const endMs = performance.now() + durationMs;
  for (const fault of schedule(seed, size, durationMs < longFromMs ? shortLimits : longLimits)) {
    if (performance.now() + fault.holdMs > endMs) {
      if (performance.now() + 3_000 > endMs) break;
      continue;
    }
    const record = new FaultRecord(fault, victimOf(world, fault), load);
    records.push(record);
    say(
      `${fault.kind} of ${record.victim}${fault.holdMs > 0 ? ` for ${(fault.holdMs / 1000).toFixed(1)} s` : ''}${fault.thenCut && fault.kind.includes('-silence') ? ', then cut' : ''}; ${record.streams} streams`,
    );
    try {
      await inflict(world, fault);
    } catch (thrown) {
      complaints.push(`${fault.kind} of ${record.victim}: ${(thrown as Error).message}`);
      world.heal();
    }
    record.healedMs = performance.now();
    await sleep(fault.pauseMs);
  }
  say('no more faults; what is open comes to its end');
  world.heal();
  const late = await Promise.race([
    load.finish(),
    sleep(finishLimitMs, 'late' as const, { ref: false }),
  ]);
  if (late === 'late') {
    const open = load.transfers.filter(({ endedMs }) => endedMs === undefined);
    complaints.push(
      `after ${finishLimitMs} ms these go on: ${open.map(({ kind, cluster, progress }) => `${kind} to ${cluster} (${progress()})`).join(', ')}`,
    );
  }
  sampling.abort();
  await sampler;
  complaints.push(...(await checkLeaks(world, baseline)));
  for (const transfer of load.transfers.filter(({ error }) => error !== undefined)) {
    const when = (transfer.endedMs! - beganMs) / 1000;
    const what = transfer.dialFailed ? 'dial failed' : transfer.wrongBytes ? 'WRONG BYTES' : 'lost';
    log(
      `${when.toFixed(1).padStart(6)} s  ${what}: ${transfer.kind} to ${transfer.cluster} (${transfer.address ?? '?'}): ${codeOf(transfer.error!)}`,
    );
  }
  return judge({ seed, records, load, world, memory, complaints });
}

async function sampleMemory(
  world: ChaosWorld,
  memory: MemorySampler,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await memory.sample([
      ['bridge', world.fleet.bridge.program],
      ...world.fleet.brokers.map(({ program }, at) => [`broker ${at}`, program] as const),
      ...world.agents.map(({ id, program }) => [id, program] as const),
    ]);
    await sleep(sampleMs, undefined, { signal }).catch(() => {});
  }
}
