import { Metrics } from '../../src/base/metrics/metrics.ts';
import type { OpenOptions } from '../../src/dialer/dialer.ts';
import { PooledDialer, type PooledDialerOptions } from '../../src/dialer/pooled-dialer.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair, type MemoryLink } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { encodeSync } from '../../src/tunnel/sync-message.ts';
import { RecordingLogger, sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

/** The number that the played broker gives to every session. */
export const sessionNumber = 77;
export const welcome = encodeMessage({
  ...protocolVersion,
  replica: 'r1',
  session: sessionNumber,
  agent: 'agent-a',
});
export const agentHas = (received: number): Uint8Array =>
  encodeSync({
    streams: [{ stream: 1, received, limit: 1_000_000 }],
    failures: [],
    last: true,
    moved: false,
  });

/** A dialer whose broker and agent are played by hand. */
export function playedDialer(options: Pick<PooledDialerOptions, 'limits'> = {}) {
  const clock = new VirtualClock(20);
  const log = new RecordingLogger();
  const metrics = new Metrics();
  const links: PlayedLink<MemoryLink>[] = [];
  const dialer = new PooledDialer({
    connect: async () => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      links.push(new PlayedLink(far));
      return near;
    },
    clock,
    log,
    software: 'test',
    metrics: metrics.group('culvert_session'),
    ...options,
  });
  const ends: (string | undefined)[] = [];
  const errors: (TunnelError | undefined)[] = [];
  let openedCount = 0;
  const open = (options: Partial<OpenOptions> = {}) => {
    const onOpened = () => void openedCount++;
    const onClose = (error: TunnelError | undefined) => {
      ends.push(error?.code);
      errors.push(error);
    };
    const handler = { onOpened, onData() {}, onFin() {}, onWritable() {}, onClose };
    return dialer.open({ cluster: 'c1', target: sampleTarget, ...options }, handler);
  };
  const linked = async (count: number): Promise<PlayedLink<MemoryLink>> => {
    while (links.length < count) await clock.advance(50);
    await clock.advance(0);
    return links.at(-1)!;
  };
  const say = async (type: FrameType, payload: Uint8Array, session = sessionNumber, stream = 0) => {
    links.at(-1)!.link.sendCopy(type, session, stream, payload);
    await clock.advance(0);
  };
  return {
    clock,
    log,
    metrics,
    links,
    dialer,
    ends,
    errors,
    open,
    linked,
    say,
    openedCount: () => openedCount,
  };
}

/** One stream is open, and 300 bytes went out on it. */
export async function withStream() {
  const played = playedDialer();
  const stream = played.open();
  await played.linked(1);
  await played.say(FrameType.welcome, welcome, 0);
  await played.say(FrameType.opened, encodeMessage({ window: 1_000_000 }), sessionNumber, 1);
  stream.write(new Uint8Array(300));
  await played.clock.advance(0);
  return { ...played, stream };
}
