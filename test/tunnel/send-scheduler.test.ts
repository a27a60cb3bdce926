import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { ReceiveWindow } from '../../src/tunnel/receive-window.ts';
import { SendScheduler } from '../../src/tunnel/send-scheduler.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { Stream } from '../../src/tunnel/stream.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';

const pool = new SlabPool();

/** An accepted stream of a session, whose writer notes when it may continue. */
function acceptedStream(scheduler: SendScheduler, onWritable: () => void): Stream {
  const receiving = new ReceiveWindow({
    initialBytes: 1,
    minBytes: 1,
    maxBytes: () => 1,
    budget: new WindowBudget(1),
  });
  const owner = { grant: () => false, ended() {} };
  const stream = new Stream(
    { number: 1, role: 'acceptor', receiving, pool, owner, scheduler },
    () => ({ onData() {}, onFin() {}, onWritable, onClose() {} }),
  );
  stream.openArrived({ window: 10_000_000, stop: true }, 10_000_000);
  stream.accept();
  return stream;
}

describe('Two sessions on one link', () => {
  it('A writer of one session is never told to continue from inside a write of the other', async () => {
    const link = { send() {}, sendCopy() {} } as unknown as Link;
    const sessions: SendScheduler[] = [];
    let isFull = true;
    const pull = (now: boolean): void => {
      if (!now || isFull) return;
      for (const session of sessions) while (session.pullFrame());
    };
    for (let at = 0; at < 2; at++) {
      const session = new SendScheduler(new VirtualClock(), () => {});
      session.attach(link, at + 1, pull);
      session.resume();
      sessions.push(session);
    }
    let isWriting = false;
    const told: string[] = [];
    const stalled = acceptedStream(sessions[0]!, () => {
      told.push(isWriting ? 'inside' : 'outside');
    });
    const busy = acceptedStream(sessions[1]!, () => {});
    expect(stalled.write(new Uint8Array(300_000))).toBe(false);
    isFull = false;
    isWriting = true;
    busy.write(new Uint8Array(100_000));
    isWriting = false;
    expect(told).toEqual([]);
    await Promise.resolve();
    expect(told).toEqual(['outside']);
  });
});
