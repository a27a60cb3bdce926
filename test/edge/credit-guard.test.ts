import { describe, expect, it } from 'vitest';
import { CreditGuard, type SessionEnd } from '../../src/broker/edge/credit-guard.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { writeOffset } from '../../src/tunnel/offset.ts';

const limits = { sessionBytes: 1000, objectBytes: 2500, maxFlows: 6 };

/** A guard with sessions 1, 2, ..., and which of them it has cut off. */
function guarded(sessions = 3) {
  const guard = new CreditGuard(limits);
  const cutOff: number[] = [];
  for (let session = 1; session <= sessions; session++) {
    const close = (error?: TunnelError) => {
      expect(error?.code).toBe('overloaded');
      cutOff.push(session);
      guard.end(session);
    };
    guard.begin(session, { close } as Partial<Link> as Link);
  }
  const data = (to: SessionEnd, session: number, stream: number, bytes: number) =>
    guard.passing(to, FrameType.data, session, stream, bytes);
  const pass = (to: SessionEnd, type: FrameType, session: number, stream: number) =>
    guard.passing(to, type, session, stream, 8);
  const credit = (from: SessionEnd, session: number, stream: number, received: number) => {
    const payload = new Uint8Array(16);
    writeOffset(payload, 0, received);
    guard.credited(from, session, stream, payload);
  };
  const waiting = () => limits.objectBytes - guard.roomBytes;
  return { guard, cutOff, data, pass, credit, waiting };
}

describe('CreditGuard', () => {
  it('The credit guard counts bytes that are passed on and not acknowledged, in both directions', () => {
    const { data, pass, credit, waiting } = guarded();
    pass('agent', FrameType.open, 1, 1);
    data('agent', 1, 1, 400);
    data('dialer', 1, 1, 300);
    expect(waiting()).toBe(700);
    credit('agent', 1, 1, 150);
    expect(waiting()).toBe(550);
    credit('dialer', 1, 1, 300);
    expect(waiting()).toBe(250);
    credit('agent', 1, 1, 400);
    expect(waiting()).toBe(0);
  });

  it('The credit guard forgets a stream that ended in both directions with nothing on its way', () => {
    const { pass, cutOff } = guarded();
    for (let stream = 1; stream <= 2 * limits.maxFlows; stream++) {
      pass('agent', FrameType.open, 1, stream);
      pass('agent', FrameType.fin, 1, stream);
      pass('dialer', FrameType.fin, 1, stream);
    }
    // A session with more directions than it may have is cut off.
    expect(cutOff).toEqual([]);
  });

  it('The credit guard ignores a CREDIT that repeats, goes back, exceeds what was sent, or is malformed', () => {
    const { guard, data, pass, credit, waiting } = guarded();
    pass('agent', FrameType.open, 1, 1);
    data('agent', 1, 1, 400);
    credit('agent', 1, 1, 300);
    credit('agent', 1, 1, 300);
    guard.credited('agent', 1, 1, new Uint8Array(3));
    guard.credited('agent', 9, 1, new Uint8Array(16));
    expect(waiting()).toBe(100);
    credit('agent', 1, 1, 10_000);
    expect(waiting()).toBe(0);
  });

  it('The credit guard takes the first CREDIT after a sleep as an acknowledgement of all bytes', () => {
    const { data, credit, waiting } = guarded();
    data('agent', 1, 1, 400);
    credit('agent', 1, 1, 5_000_000);
    expect(waiting()).toBe(0);
    data('agent', 1, 1, 400);
    credit('agent', 1, 1, 5_000_100);
    expect(waiting()).toBe(300);
  });

  it('The credit guard forgets a stream that was reset, refused or completely acknowledged', () => {
    const { data, pass, credit, waiting, cutOff } = guarded();
    for (let stream = 1; stream <= 100; stream++) {
      pass('agent', FrameType.open, 1, stream);
      data('agent', 1, stream, 10);
      if (stream % 3 === 0) {
        pass('dialer', FrameType.reset, 1, stream);
      } else if (stream % 3 === 1) {
        pass('dialer', FrameType.refused, 1, stream);
      } else {
        data('dialer', 1, stream, 20);
        pass('agent', FrameType.fin, 1, stream);
        pass('dialer', FrameType.fin, 1, stream);
        credit('agent', 1, stream, 11);
        credit('dialer', 1, stream, 21);
      }
    }
    expect(waiting()).toBe(0);
    expect(cutOff).toEqual([]);
  });

  it('The credit guard closes only the session that exceeds its limit', () => {
    const { data, cutOff, waiting } = guarded();
    data('agent', 2, 1, 900);
    data('agent', 1, 1, 600);
    data('dialer', 1, 1, 400);
    expect(cutOff).toEqual([]);
    data('dialer', 1, 1, 1);
    expect(cutOff).toEqual([1]);
    expect(waiting()).toBe(900);
    data('dialer', 1, 1, 1);
    expect(waiting()).toBe(900);
  });

  it('The credit guard closes the session with the most bytes when all together exceed the limit', () => {
    const { data, cutOff } = guarded(4);
    data('agent', 1, 1, 500);
    data('agent', 2, 1, 900);
    data('agent', 3, 1, 700);
    data('agent', 4, 1, 401);
    expect(cutOff).toEqual([2]);
  });

  it('The credit guard closes a session with too many streams', () => {
    const { data, cutOff, waiting } = guarded();
    for (let stream = 1; stream <= 6; stream++) data('agent', 1, stream, 1);
    expect(cutOff).toEqual([]);
    data('agent', 1, 7, 1);
    expect(cutOff).toEqual([1]);
    expect(waiting()).toBe(0);
  });
});
