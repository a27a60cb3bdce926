import type { Load } from './load.ts';
import type { MemorySampler } from './resources.ts';
import { isAbuse } from './abuse.ts';
import type { FaultKind, PlannedFault } from './schedule.ts';
import type { Transfer } from './transfers.ts';
import type { ChaosAgent, ChaosWorld } from './world.ts';

/** A killed agent's streams must end within this time after its return, in milliseconds. */
const agentLostLimitMs = 8_000;
const killGapLimitMs = 3_000;
/** The most that a process may grow after some minutes of load, when its heap is stable. */
const growthLimit = { fromS: 300, mibPerMinute: 6 };
/**
 * An agent's heap grows in steps while a dialer abuses it, and keeps its size. Growth counts from
 * here, in MiB.
 */
const abusedAgentMib = 320;

/** A fault that happened. */
export class FaultRecord {
  readonly fault: PlannedFault;
  readonly victim: string;
  readonly beganMs = performance.now();
  readonly streams: number;
  /** Streams that were open when it began. */
  readonly open: readonly Transfer[];
  healedMs = Infinity;

  constructor(fault: PlannedFault, victim: string, load: Load) {
    this.fault = fault;
    this.victim = victim;
    this.open = load.transfers.filter(({ isOpen }) => isOpen);
    this.streams = this.open.length;
  }
}

export interface Report {
  readonly seed: number;
  /** Expectations that did not hold, in sentences; none in a good run. */
  readonly broken: readonly string[];
  readonly table: string;
}

interface Row {
  count: number;
  streams: number;
  lost: number;
  expected: number;
  wrong: number;
  failedDials: number;
  maxGapMs: number;
}

/** Compares the results with the expectations. */
export function judge(run: {
  readonly seed: number;
  readonly records: readonly FaultRecord[];
  readonly load: Load;
  readonly world: ChaosWorld;
  readonly memory: MemorySampler;
  readonly complaints: readonly string[];
}): Report {
  const { seed, records, load, world, memory } = run;
  const broken = [...run.complaints];
  const rows = new Map<FaultKind, Row>();
  for (const [at, record] of records.entries()) {
    const { kind } = record.fault;
    const row = rows.get(kind) ?? {
      count: 0,
      streams: 0,
      lost: 0,
      expected: 0,
      wrong: 0,
      failedDials: 0,
      maxGapMs: 0,
    };
    rows.set(kind, row);
    row.count++;
    row.streams += record.streams;
    const untilMs = records[at + 1]?.beganMs ?? Infinity;
    const within = (ms: number | undefined): boolean =>
      ms !== undefined && ms >= record.beganMs && ms < untilMs;
    const failed = load.transfers.filter(
      ({ error, endedMs }) => error !== undefined && within(endedMs),
    );
    row.failedDials += failed.filter(({ dialFailed }) => dialFailed).length;
    row.wrong += failed.filter(({ wrongBytes }) => wrongBytes).length;
    for (const { gapMs } of world.resumptions.filter(({ atMs }) => within(atMs)))
      row.maxGapMs = Math.max(row.maxGapMs, gapMs);
    for (const transfer of failed.filter(({ lost }) => lost)) {
      if (killedWith(transfer, records, world) === undefined) {
        row.lost++;
        broken.push(
          `${kind} of ${record.victim} or one before lost a stream: ${transfer.kind} to ${transfer.cluster}: ${transfer.error?.message}`,
        );
      } else {
        row.expected++;
      }
    }
    if (isAbuse(kind)) {
      const began = ({ startedMs }: Transfer): boolean => startedMs >= record.beganMs;
      for (const transfer of failed.filter((one) => one.dialFailed && began(one))) {
        broken.push(
          `a dial failed beside ${kind}: ${transfer.kind} to ${transfer.cluster}: ${transfer.error?.message}`,
        );
      }
    }
    if (kind === 'agent-kill') broken.push(...streamsThatOutlived(record, world));
    if (kind === 'rolling-restart') {
      for (const { kind: what, cluster, error } of failed.filter(({ dialFailed }) => dialFailed)) {
        broken.push(`a dial failed in a rolling restart: ${what} to ${cluster}: ${error?.message}`);
      }
    }
  }
  for (const { kind, cluster, error } of load.transfers.filter(({ wrongBytes }) => wrongBytes)) {
    broken.push(`wrong bytes: ${kind} to ${cluster}: ${error?.message}`);
  }
  const killGaps = gapsAtKills(records, world);
  if (quantile(killGaps, 0.99) > killGapLimitMs) {
    broken.push(
      `p99 of the gaps at brokers' kills is ${quantile(killGaps, 0.99)} ms, more than ${killGapLimitMs}`,
    );
  }
  const agents = new Set(world.agents.map(({ id }) => id));
  for (const { name, mib, mibPerMinute, seconds } of memory.slopes()) {
    if (agents.has(name) && mib < abusedAgentMib) continue;
    if (seconds < growthLimit.fromS || mibPerMinute <= growthLimit.mibPerMinute) continue;
    const rate = mibPerMinute.toFixed(1);
    broken.push(`${name} grew by ${rate} MiB a minute over ${Math.round(seconds)} s`);
  }
  return { seed, broken, table: tableOf(rows, killGaps, load, memory) };
}

/**
 * The kill that explains the end of a stream: of its bridge, or of its agent. If the agent is not
 * known, any agent of the cluster counts.
 */
function killedWith(
  transfer: Transfer,
  records: readonly FaultRecord[],
  world: ChaosWorld,
): FaultRecord | undefined {
  const { address, cluster, startedMs, openedMs = startedMs, endedMs = Infinity } = transfer;
  return records.find(({ fault, beganMs, healedMs }) => {
    if (fault.kind === 'bridge-kill') {
      return transfer.throughBridge && startedMs <= healedMs && endedMs >= beganMs;
    }
    const agent = world.agents[fault.victim];
    if (fault.kind !== 'agent-kill' || agent?.cluster !== cluster) return false;
    const began = address === undefined ? startedMs : openedMs;
    const itsOwn = address === undefined || address === agent.address;
    return (
      itsOwn && began <= healedMs && endedMs >= beganMs && endedMs <= healedMs + agentLostLimitMs
    );
  });
}

/** A stream of a killed agent cannot continue. */
function streamsThatOutlived({ fault, open, healedMs }: FaultRecord, world: ChaosWorld): string[] {
  const agent: ChaosAgent = world.agents[fault.victim]!;
  return open
    .filter(
      ({ address, endedMs }) =>
        address === agent.address && (endedMs ?? Infinity) > healedMs + agentLostLimitMs,
    )
    .map(
      ({ kind, cluster }) =>
        `${kind} to ${cluster} is still open ${agentLostLimitMs} ms after its agent was killed and is back`,
    );
}

function gapsAtKills(records: readonly FaultRecord[], world: ChaosWorld): number[] {
  return records
    .filter(({ fault }) => fault.kind === 'broker-kill')
    .flatMap(({ beganMs, healedMs, fault }) =>
      world.resumptions.filter(({ atMs }) => atMs >= beganMs && atMs < healedMs + fault.pauseMs),
    )
    .map(({ gapMs }) => gapMs)
    .filter((gapMs) => gapMs > 0)
    .sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted.length === 0
    ? 0
    : sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}

function tableOf(
  rows: ReadonlyMap<FaultKind, Row>,
  killGaps: readonly number[],
  load: Load,
  memory: MemorySampler,
): string {
  const head = [
    'fault',
    'times',
    'streams open',
    'lost',
    'ended with their agent',
    'wrong bytes',
    'failed dials',
    'max gap ms',
  ];
  const body = Array.from(rows, ([kind, row]) => [
    kind,
    ...[
      row.count,
      row.streams,
      row.lost,
      row.expected,
      row.wrong,
      row.failedDials,
      row.maxGapMs,
    ].map(String),
  ]);
  const widths = head.map((title, at) =>
    Math.max(title.length, ...body.map((cells) => cells[at]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ');
  const done = load.transfers.filter(
    ({ error, endedMs }) => error === undefined && endedMs !== undefined,
  ).length;
  const growth = Array.from(
    memory.slopes(),
    ({ name, mib, mibPerMinute, seconds }) =>
      `${name} ${mib.toFixed(0)} MiB ${mibPerMinute >= 0 ? '+' : ''}${mibPerMinute.toFixed(1)}/min over ${seconds.toFixed(0)} s`,
  );
  return [
    line(head),
    ...body.map(line),
    '',
    `${done} long streams complete, ${load.dials} short ones dialled`,
    `gap of a session at a broker's kill: ${killGaps.length} times, p50 ${quantile(killGaps, 0.5)} ms, p99 ${quantile(killGaps, 0.99)} ms, max ${killGaps.at(-1) ?? 0} ms`,
    `memory: ${growth.join('; ')}`,
  ].join('\n');
}
