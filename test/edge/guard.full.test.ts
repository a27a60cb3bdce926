import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { turns } from '../websocket/link-owners.ts';
import { EdgeBroker, type RawPeer } from './edge-broker.ts';

const piece = 64 * 1024;
const mib = 1024 * 1024;
const target = { kind: 'tcp', host: 'guarded', port: 1 } as const;
const openFrame = encodeOpen({ target, window: 256 * 1024, timeoutMs: 0 });

/** Sends DATA until the link is closed or `bytes` are sent. Returns the number of sent bytes. */
async function flood({ link, received }: RawPeer, session: number, bytes: number): Promise<number> {
  let sentBytes = 0;
  while (received.closes.length === 0 && sentBytes < bytes) {
    if (link.room > 0) {
      link.sendCopy(FrameType.data, session, 1, patternAt(sentBytes, piece));
      sentBytes += piece;
    } else {
      await turns(1);
    }
  }
  return sentBytes;
}

describe('A peer of the Worker that ignores credit', () => {
  let broker: EdgeBroker;
  beforeAll(async () => {
    broker = await EdgeBroker.start();
  }, 30_000);
  afterAll(() => broker?.[Symbol.asyncDispose]());

  it('A dialer that ignores credit loses its link, and other sessions continue', async () => {
    await broker.agent('guarded');
    await using echo = await startTarget({ mode: 'echo' });
    const { port } = echo;
    const stream = DialedStream.open(await broker.dialer(), 'guarded', { ...target, port });
    await stream.opened;
    const raw = await broker.rawDialer('guarded');
    raw.link.sendCopy(FrameType.open, raw.session, 1, openFrame);
    await broker.worker.putToSleep('guarded');
    const sentBytes = await flood(raw, raw.session, 128 * mib);
    expect(sentBytes).toBeGreaterThan(32 * mib);
    expect(raw.received.closes).toMatchObject([{ code: 'overloaded' }]);
    // Said before the close, which some clients hear of late.
    expect(raw.received.frames.at(-1)?.type).toBe(FrameType.goaway);
    await stream.write(patternAt(0, 1000));
    stream.fin();
    expect(Buffer.compare(await stream.readAll(), patternAt(0, 1000))).toBe(0);
  });

  it('An agent that ignores credit loses the flooded session, and its other sessions continue', async () => {
    const agent = await broker.rawAgent('flooding');
    const [flooded, other] = [
      await broker.rawDialer('flooding'),
      await broker.rawDialer('flooding'),
    ];
    const sentBytes = await flood(
      { link: agent.link, received: flooded.received },
      flooded.session,
      128 * mib,
    );
    expect(sentBytes).toBeGreaterThan(32 * mib);
    expect(flooded.received.closes).toMatchObject([{ code: 'overloaded' }]);
    agent.link.sendCopy(FrameType.data, other.session, 1, patternAt(0, 10));
    await other.received.until(() => other.received.dataBytes === 10);
    expect(agent.received.closes).toEqual([]);
  });
});
