import { describe, expect, it } from 'vitest';
import { SessionLink } from '../../src/dialer/session-link.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage, protocolVersion, type GoAway } from '../../src/tunnel/message.ts';
import { ScriptedSession } from '../../testkit/stream/scripted-session.ts';
import { simulatedLinkPair } from '../../testkit/link/simulated-link.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

/** A dialer's link to a broker that the test plays. */
async function linked() {
  const clock = new VirtualClock();
  const [near, far] = simulatedLinkPair(clock, { roomBytes: 1000 });
  const broker = new PlayedLink(far);
  const goAways: GoAway[] = [];
  const closes: TunnelError[] = [];
  const hello = { ...protocolVersion, software: 'test', session: '0'.repeat(32) };
  const { session } = new ScriptedSession('dialer');
  void new SessionLink(near, session, hello, {
    onWelcome() {},
    onGoAway: (goAway) => void goAways.push(goAway),
    onClosed: (error) => void closes.push(error),
  });
  await clock.runUntilIdle();
  return { clock, near, far, broker, goAways, closes };
}

describe('A link to a broker that sends more than it should', () => {
  it('A session link reports one GOAWAY of the broker and one GOAWAY of the agent, even after repetitions', async () => {
    const { clock, far, goAways } = await linked();
    for (const scope of ['broker', 'agent'] as const) {
      const goAway = encodeMessage({ deadlineMs: 1, retryAfterMs: 2, scope });
      for (let again = 0; again < 1000; again++) far.sendCopy(FrameType.goaway, 0, 0, goAway);
    }
    await clock.runUntilIdle();
    expect(goAways.map(({ scope }) => scope)).toEqual(['broker', 'agent']);
  });

  it('A session link queues no answers to PINGs beyond its room', async () => {
    const { clock, near, far, broker } = await linked();
    near.stall();
    for (let ask = 0; ask < 1000; ask++) far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
    await clock.advance(1000);
    expect(near.peakQueuedBytes).toBeLessThan(1100);
    near.unstall();
    await clock.runUntilIdle();
    const pongs = broker.frames.filter(({ type }) => type === FrameType.pong);
    expect(pongs).toHaveLength(50);
  });

  it('A session link ends with protocol_error at a PING of 9 bytes', async () => {
    const { clock, far, closes } = await linked();
    far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(9));
    await clock.runUntilIdle();
    expect(closes[0]?.code).toBe('protocol_error');
  });
});
