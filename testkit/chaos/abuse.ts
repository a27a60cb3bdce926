import { setTimeout as sleep } from 'node:timers/promises';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import { RawPeer } from '../link/raw-peer.ts';
import { Stranger } from '../network/stranger.ts';
import { openClient, startDownload } from '../world/front-client.ts';
import { costliestBomb } from '../stream/hostile-payload.ts';
import type { Program } from '../processes/process.ts';
import { handshakeText } from '../link/raw-websocket.ts';
import { PacedTarget } from './paced-target.ts';
import { residentBytes } from './resources.ts';
import type { FaultKind, PlannedFault } from './schedule.ts';
import type { ChaosWorld } from './world.ts';

const mib = 1024 * 1024;
/**
 * How much a process may grow during one attack. A busy agent keeps garbage of up to 100 MiB,
 * whatever it does.
 */
const maxGrownBytes = { broker: 64 * mib, bridge: 64 * mib, agent: 192 * mib };
const sampleMs = 50;
/**
 * Between two pieces of an attack, so that the abuser leaves CPU time to the honest peers in this
 * process.
 */
const pauseMs = 5;

/**
 * Honest peers come from 127.0.0.1. A broker may refuse any unauthenticated connection of an
 * address that floods it.
 */
const strangerAddress = '127.0.0.66';
const maxStrangerConnections = 300;
const maxBombs = 20;
const downloadCount = 4;
const downloadBytes = 16 * mib;

/** An attack in progress. */
interface Attack {
  readonly world: ChaosWorld;
  readonly brokerPort: number;
  /** The honest cluster that a dialer or a client abuses. */
  readonly cluster: string;
  /** Aborts when the time of the attack is over. */
  readonly signal: AbortSignal;
}

const attacks = {
  'abuse-stranger': attackAsStranger,
  'abuse-agent': attackAsAgent,
  'abuse-dialer': attackAsDialer,
  'abuse-client': attackAsClient,
} as const;
export type AbuseKind = keyof typeof attacks;

export function isAbuse(kind: FaultKind): kind is AbuseKind {
  return kind in attacks;
}

/**
 * Attacks one broker, or the bridge, for `holdMs` while honest peers continue.
 *
 * @throws Error a process grew more than it may, or the attack could not begin
 */
export async function abuse(
  world: ChaosWorld,
  { victim, other, holdMs }: PlannedFault,
  kind: AbuseKind,
): Promise<void> {
  const { brokers, bridge } = world.fleet;
  const over = new AbortController();
  const growths = [
    ...brokers.map(({ program }, at) =>
      watchGrowth(`broker ${at}`, program, maxGrownBytes.broker, over.signal),
    ),
    watchGrowth('the bridge', bridge.program, maxGrownBytes.bridge, over.signal),
    ...world.agents.map(({ id, program }) =>
      watchGrowth(id, program, maxGrownBytes.agent, over.signal),
    ),
  ];
  const attack = attacks[kind]({
    world,
    brokerPort: brokers[victim]!.port,
    cluster: world.clusters[other % world.clusters.length]!,
    signal: over.signal,
  });
  try {
    // A failure after the end is expected, because the end closes the abuser's connections.
    const ended = attack.catch((thrown: unknown) => {
      if (!over.signal.aborted) throw thrown;
    });
    await Promise.all([Promise.race([ended, sleep(holdMs)]), sleep(holdMs)]);
    over.abort();
    await ended;
  } finally {
    over.abort();
  }
  const complaints = (await Promise.all(growths)).filter((complaint) => complaint !== undefined);
  if (complaints.length > 0) throw new Error(complaints.join('; '));
}

/**
 * Many connections, each with many requests at once or with a bad credential, whose answers are
 * never read.
 */
async function attackAsStranger({ brokerPort, signal }: Attack): Promise<void> {
  using stranger = new Stranger(strangerAddress);
  const requests = 'GET /metrics HTTP/1.1\r\nHost: broker.test\r\n\r\n'.repeat(100);
  const badCredential = handshakeText('/v1/agent', { Authorization: 'Bearer a.b.c' });
  for (let at = 0; at < maxStrangerConnections && !signal.aborted; at++) {
    const socket = stranger.connect(`127.0.0.1:${brokerPort}`);
    socket.pause();
    socket.write(at % 2 === 0 ? requests : badCredential);
    await sleep(pauseMs);
  }
  await aborted(signal);
}

/**
 * Agents of other clusters. They flood the broker without reading, and name sessions that are not
 * theirs.
 */
async function attackAsAgent(attack: Attack): Promise<void> {
  await Promise.all([
    ...[1, 2].map((at) => pingBroker(attack, `hostile-pings-${at}`)),
    sendBombs(attack),
    sendForeignFrames(attack),
  ]);
}

async function pingBroker(attack: Attack, cluster: string): Promise<void> {
  const link = await open(attack, 'agent', cluster);
  await link.hello();
  link.stopReading();
  const ping = encodeFrame(FrameType.ping, 0, 0, new Uint8Array(8));
  await repeat(attack, link, () => link.floodSame(50_000, ping));
}

async function sendBombs(attack: Attack): Promise<void> {
  for (let at = 0; at < maxBombs && !attack.signal.aborted; at++) {
    // A broker takes few connections in a second from one cluster.
    using link = await open(attack, 'agent', `hostile-${at}`);
    link.send(encodeFrame(FrameType.hello, 0, 0, costliestBomb));
    await link.closed();
    await sleep(20 * pauseMs);
  }
}

async function sendForeignFrames(attack: Attack): Promise<void> {
  const link = await open(attack, 'agent', 'hostile-frames');
  await link.hello();
  link.stopReading();
  const reset = encodeFailure(new TunnelError('reset', 'sent by a stranger'));
  const bytes = Buffer.from('a foreign byte');
  const credit = new Uint8Array(16);
  const frame = (at: number): Uint8Array => {
    const session = 1 + (at % 50);
    const stream = 1 + (Math.floor(at / 50) % 50);
    if (at % 3 === 0) return encodeFrame(FrameType.reset, session, stream, reset);
    if (at % 3 === 1) return encodeFrame(FrameType.data, session, stream, bytes);
    return encodeFrame(FrameType.credit, session, stream, credit);
  };
  await repeat(attack, link, () => link.flood(1_000, frame));
}

/** The agents' lists of destinations forbid it, so it is answered at once. */
const forbidden = { kind: 'tcp', host: 'no.example', port: 1, window: 65_536, timeoutMs: 0 };

/**
 * A dialer that floods an honest agent with OPENs and PINGs, and the broker with PINGs, and reads
 * nothing.
 */
async function attackAsDialer(attack: Attack): Promise<void> {
  const link = await open(attack, 'dialer', attack.cluster);
  const session = await link.hello();
  link.stopReading();
  const toBroker = encodeFrame(FrameType.ping, 0, 0, new Uint8Array(8));
  const toAgent = encodeFrame(FrameType.ping, session, 0, new Uint8Array(8));
  let stream = 0;
  await repeat(attack, link, async () => {
    await link.flood(100, () =>
      encodeFrame(FrameType.open, session, ++stream, encodeMessage(forbidden)),
    );
    await link.floodSame(5_000, toBroker);
    await link.floodSame(50_000, toAgent);
  });
}

/** A konnectivity client that begins downloads and aborts them, in turn in each possible way. */
async function attackAsClient({ world, cluster, signal }: Attack): Promise<void> {
  await using target = await PacedTarget.banner(world.addressesOf(cluster), downloadBytes);
  for (let round = 0; !signal.aborted; round++) {
    const client = await openClient(world.fleet.front);
    const close = (): void => client.close();
    // The attack may have ended while the client was opened.
    if (signal.aborted) return close();
    signal.addEventListener('abort', close);
    try {
      const to = `${cluster}:${target.port}`;
      const downloads = await Promise.all(
        Array.from({ length: downloadCount }, () => startDownload(client, to)),
      );
      for (const download of downloads) {
        if (round % 3 === 0) download.end();
        if (round % 3 === 1) download.destroy();
      }
      await sleep(20 * pauseMs);
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  }
}

/** A link that ends with the attack. */
async function open(
  { world, brokerPort, signal }: Attack,
  role: 'agent' | 'dialer',
  cluster: string,
): Promise<RawPeer> {
  const { tokens } = world.fleet;
  const brokerUrl = `ws://127.0.0.1:${brokerPort}`;
  const link = await RawPeer.open({ brokerUrl, tokens }, role, cluster);
  const close = (): void => link[Symbol.dispose]();
  if (signal.aborted) close();
  else signal.addEventListener('abort', close, { once: true });
  return link;
}

/** Sends again and again until the attack is over or the broker has closed the link. */
async function repeat(
  { signal }: Attack,
  link: RawPeer,
  send: () => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted && link.isOpen) {
    await send();
    await sleep(pauseMs);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  await sleep(60_000, undefined, { signal }).catch(() => {});
}

/**
 * Samples the memory of a process until `signal` aborts. Resolves with a complaint when it grew by
 * more than `maxBytes`.
 */
async function watchGrowth(
  name: string,
  program: Program,
  maxBytes: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  // A process that is gone has not grown.
  const before = (await residentBytes(program)) ?? 0;
  let highest = before;
  while (!signal.aborted) {
    highest = Math.max(highest, (await residentBytes(program)) ?? 0);
    await sleep(sampleMs, undefined, { signal }).catch(() => {});
  }
  const grownBytes = highest - before;
  if (grownBytes <= maxBytes) return undefined;
  return `${name} grew by ${toMib(grownBytes)} MiB, more than ${toMib(maxBytes)}`;
}

function toMib(bytes: number): string {
  return (bytes / mib).toFixed(0);
}
