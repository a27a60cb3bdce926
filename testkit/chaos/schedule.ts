import { Random } from './random.ts';

/** The kinds of faults. faults.ts injects them. */
export const faultKinds = [
  'broker-kill',
  'broker-freeze',
  'broker-drain',
  'rolling-restart',
  'redis-kill',
  'redis-flush',
  'redis-freeze',
  'agent-silence',
  'agent-half-open',
  'agent-delay',
  'agent-cut',
  'agent-kill',
  'dialer-silence',
  'dialer-half-open',
  'dialer-delay',
  'dialer-cut',
  'both-silence',
  'agent-forgotten',
  'dialer-forgotten',
  'agent-freeze',
  'bridge-kill',
  'abuse-stranger',
  'abuse-agent',
  'abuse-dialer',
  'abuse-client',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface PlannedFault {
  readonly kind: FaultKind;
  /** The index of the target: for `both-silence` the agent, for abuse the broker. */
  readonly victim: number;
  /** Which dialer, for `both-silence`; which cluster, for abuse. */
  readonly other: number;
  /** How long it lasts, in milliseconds. */
  readonly holdMs: number;
  /** True when connections are cut at the end of a silence, as by a firewall that forgot them. */
  readonly thenCut: boolean;
  /** The direction that is dead, for half-open. */
  readonly direction: 'up' | 'down';
  /** Until the next fault, in milliseconds. */
  readonly pauseMs: number;
}

export interface ScheduleSize {
  readonly brokers: number;
  readonly agents: number;
  readonly dialers: number;
}

export interface ScheduleLimits {
  readonly silenceMs: number;
  readonly redisAwayMs: number;
  /** Pings detect dead connections after more than a minute. */
  readonly forgotten: boolean;
}

export const shortLimits: ScheduleLimits = {
  silenceMs: 6_000,
  redisAwayMs: 6_000,
  forgotten: false,
};
export const longLimits: ScheduleLimits = {
  silenceMs: 20_000,
  redisAwayMs: 60_000,
  forgotten: true,
};

/** After this time, pings at both ends have timed out, and the streams continue. */
const noticedMs = 100_000;

/** How often a kind is in the deck, if not once. */
const weights: Partial<Record<FaultKind, number>> = {
  'broker-kill': 4,
  'broker-drain': 2,
  'agent-cut': 2,
  'dialer-cut': 2,
};

/** An endless sequence of faults that depends only on the seed: all kinds in random order. */
export function* schedule(
  seed: number,
  size: ScheduleSize,
  limits: ScheduleLimits,
): Generator<PlannedFault, never> {
  const random = new Random(seed);
  const deck = faultKinds
    .filter((kind) => limits.forgotten || !kind.endsWith('-forgotten'))
    .flatMap((kind) => Array.from({ length: weights[kind] ?? 1 }, () => kind));
  for (;;) {
    for (const kind of random.shuffled(deck)) yield plan(kind, random, size, limits);
  }
}

/**
 * Draws the same number of numbers for every kind, so that a change of one fault leaves the others
 * alone.
 */
function plan(
  kind: FaultKind,
  random: Random,
  { brokers, agents, dialers }: ScheduleSize,
  limits: ScheduleLimits,
): PlannedFault {
  const [agent, dialer, broker] = [agents, dialers, brokers].map((count) =>
    random.integer(0, count - 1),
  ) as [number, number, number];
  const holdMs = holdOf(kind, random.next(), limits);
  const isBroker = kind.startsWith('broker') || kind.startsWith('abuse');
  const victim = isBroker ? broker : kind.startsWith('dialer') ? dialer : agent;
  return {
    kind,
    victim,
    other: dialer,
    holdMs,
    thenCut: random.chance(0.5),
    direction: random.pick(['up', 'down'] as const),
    pauseMs: random.integer(500, 3_000),
  };
}

/**
 * How long a fault lasts, in milliseconds. @param length how long of what it may be, from 0 to 1
 */
function holdOf(kind: FaultKind, length: number, limits: ScheduleLimits): number {
  const between = (lowMs: number, highMs: number): number =>
    Math.round(lowMs + length * (Math.max(highMs, lowMs) - lowMs));
  switch (kind) {
    case 'broker-kill':
      return between(0, 3_000);
    case 'broker-freeze':
      return between(3_000, 8_000);
    case 'redis-kill':
      return between(2_000, limits.redisAwayMs);
    case 'redis-freeze':
      return between(1_000, 6_000);
    case 'agent-silence':
    case 'agent-half-open':
    case 'dialer-silence':
    case 'dialer-half-open':
    case 'both-silence':
      return between(2_000, limits.silenceMs);
    case 'agent-delay':
    case 'dialer-delay':
      return between(2_000, 5_000);
    case 'abuse-stranger':
    case 'abuse-agent':
    case 'abuse-dialer':
    case 'abuse-client':
      return between(3_000, 5_000);
    case 'agent-forgotten':
    case 'dialer-forgotten':
      return noticedMs;
    case 'agent-freeze':
      return between(2_000, limits.silenceMs);
    case 'bridge-kill':
    case 'agent-kill':
      return between(0, 1_500);
    default:
      return 0;
  }
}
