import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { answerPing } from '../../src/tunnel/ping.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { simulatedLinkPair } from '../../testkit/link/simulated-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const payload = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

describe('The answer to a PING on a link', () => {
  it('The answer to a PING repeats its payload', async () => {
    const clock = new VirtualClock();
    const [near, far] = simulatedLinkPair(clock);
    const peer = new PlayedLink(far);
    answerPing(near, payload);
    await clock.runUntilIdle();
    expect(peer.frames).toEqual([{ type: FrameType.pong, session: 0, stream: 0, payload }]);
  });

  it('The answer to a PING is dropped while the link is full, and later PINGs are answered again', async () => {
    const clock = new VirtualClock();
    const roomBytes = 1000;
    const [near, far] = simulatedLinkPair(clock, { roomBytes });
    const peer = new PlayedLink(far);
    near.stall();
    for (let asked = 0; asked < 100_000; asked++) answerPing(near, payload);
    expect(near.peakQueuedBytes).toBeLessThan(roomBytes + 100);
    near.unstall();
    await clock.runUntilIdle();
    const answeredBefore = peer.frames.length;
    answerPing(near, payload);
    await clock.runUntilIdle();
    expect(peer.frames.length).toBe(answeredBefore + 1);
  });

  it.each([0, 7, 9, 65_536])('A PING with a payload of %i bytes is an error', (bytes) => {
    const [near] = simulatedLinkPair(new VirtualClock());
    expect(() => answerPing(near, new Uint8Array(bytes))).toThrow(TunnelError);
    expect(near.sent).toEqual([]);
  });
});
