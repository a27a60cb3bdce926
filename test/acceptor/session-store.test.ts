import { describe, expect, it } from 'vitest';
import { type SessionCarrier, SessionStore } from '../../src/acceptor/session-store.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { TunnelError, tunnelErrorCodes } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { decodeSync, encodeSync } from '../../src/tunnel/sync-message.ts';
import { Session } from '../../src/tunnel/session.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const graceMs = 30_000;
const id = 'a'.repeat(32);
const mine = { dialer: 'bridge-0', session: id, resume: false };
const resume = { ...mine, resume: true };
const open = encodeOpen({ target: sampleTarget, window: 1000, timeoutMs: 0 });

/** A tunnel that keeps a record. */
class Carrier implements SessionCarrier {
  readonly maxWindowBytes = Infinity;
  readonly told: string[] = [];
  readonly link = {
    peer: 'test',
    room: 1,
    send() {},
    sendCopy: (type: FrameType, number: number, _: number, payload: Uint8Array) => {
      if (type !== FrameType.sync) return;
      this.told.push(decodeSync(payload).moved ? `moved ${number}` : `sync ${number}`);
    },
    wake() {},
    pause() {},
    resume() {},
    close() {},
  };

  release(number: number): void {
    this.told.push(`forget ${number}`);
  }

  refuse(number: number, { code }: TunnelError): void {
    this.told.push(`refuse ${number}: ${code}`);
  }

  wake(session: Session): void {
    while (session.pullFrame());
  }
}

function makeStore() {
  const clock = new VirtualClock();
  const ended: (string | undefined)[] = [];
  const store = new SessionStore({
    clock,
    log: silentLogger,
    resumeGraceMs: graceMs,
    makeSession: (log, events) =>
      new Session({
        clock,
        limits: defaultLimits,
        pool: new SlabPool(),
        budget: new WindowBudget(2 ** 30),
        log,
        ...events,
        accept: () => ({
          onData() {},
          onFin() {},
          onWritable() {},
          onClose: (error) => ended.push(error?.code),
        }),
      }),
  });
  return { clock, store, ended };
}

function lost(code: TunnelError['code'] = 'link_lost'): TunnelError {
  return new TunnelError(code, 'the tunnel ended');
}

describe('SessionStore', () => {
  it('The session store keeps a session without a link for the grace period, and then ends it with link_lost', async () => {
    const { clock, store, ended } = makeStore();
    const entry = store.attach(new Carrier(), 1, mine);
    entry.session.onFrame(FrameType.open, 1, open);
    store.detach(entry, lost());
    await clock.advance(graceMs - 1);
    expect([store.size, store.streamCount, ended]).toEqual([1, 1, []]);
    await clock.advance(1);
    expect([store.size, store.streamCount, ended]).toEqual([0, 0, ['link_lost']]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('The session store keeps a session without streams as well, because an OPEN may be lost', async () => {
    const { clock, store } = makeStore();
    const entry = store.attach(new Carrier(), 1, mine);
    store.detach(entry, lost());
    const again = new Carrier();
    expect(store.attach(again, 2, resume)).toBe(entry);
    expect(again.told).toEqual(['sync 2']);
    await clock.advance(2 * graceMs);
    expect(store.size).toBe(1);
  });

  it('The session store gives a session that resumes and is lost again a new grace period', async () => {
    const { clock, store } = makeStore();
    const entry = store.attach(new Carrier(), 1, mine);
    for (let turn = 2; turn < 5; turn++) {
      store.detach(entry, lost());
      await clock.advance(graceMs - 1);
      store.attach(new Carrier(), turn, resume);
    }
    expect(store.resumedCount).toBe(3);
    expect(clock.pendingTimers).toBe(0);
  });

  it('The session store lets the last link win, and tells the other end of the earlier link', () => {
    const { store } = makeStore();
    const [before, after] = [new Carrier(), new Carrier()];
    const entry = store.attach(before, 1, mine);
    expect(store.attach(after, 2, resume)).toBe(entry);
    expect(before.told).toEqual(['moved 1', 'forget 1']);
    expect(after.told).toEqual(['sync 2']);
    expect(entry).toMatchObject({ carrier: after, number: 2 });
  });

  it.each([
    [
      'resumes a session that the agent does not have',
      { ...resume, session: 'b'.repeat(32) },
      'unknown_session',
    ],
    ['creates its own session again', mine, 'unknown_session'],
    [
      'creates a session under the session id of another dialer',
      { ...mine, dialer: 'm' },
      'unknown_session',
    ],
    ['resumes the session of another dialer', { ...resume, dialer: 'mallory' }, 'forbidden'],
    [
      'resumes with a name that is almost the same as the owner',
      { ...resume, dialer: 'bridge-00' },
      'forbidden',
    ],
  ])(
    'The session store refuses a dialer that %s, and the session is not affected',
    (_, attach, code) => {
      const { store, ended } = makeStore();
      const [own, other] = [new Carrier(), new Carrier()];
      const entry = store.attach(own, 1, mine);
      expect(() => store.attach(other, 2, attach)).toThrow(expect.objectContaining({ code }));
      expect(entry).toMatchObject({ carrier: own, number: 1 });
      expect([own.told, other.told, ended]).toEqual([[], [], []]);
      expect([store.size, store.resumedCount]).toEqual([1, 0]);
    },
  );

  it('The session store refuses an intruder in a session without a link, and the session still waits for its dialer', () => {
    const { store } = makeStore();
    const entry = store.attach(new Carrier(), 1, mine);
    store.detach(entry, lost());
    const attach = { ...resume, dialer: 'mallory' };
    expect(() => store.attach(new Carrier(), 2, attach)).toThrow("not mallory's to resume");
    expect(store.attach(new Carrier(), 3, resume)).toBe(entry);
  });

  const waiting = ['link_lost', 'agent_lost', 'peer_unresponsive', 'overloaded', 'draining'];

  it.each(tunnelErrorCodes)('The session store tells whether %s is final', (code) => {
    const { store } = makeStore();
    store.detach(store.attach(new Carrier(), 1, mine), lost(code));
    expect(store.size).toBe(waiting.includes(code) ? 1 : 0);
  });

  const named = (at: number) => ({
    dialer: `bridge-${at}`,
    session: at.toString(16).padStart(32, '0'),
    resume: false,
  });

  it('The session store holds 10,000 sessions and refuses the next with overloaded, while its sessions may still resume', () => {
    const { store } = makeStore();
    const carrier = new Carrier();
    for (let at = 1; at <= 10_000; at++) store.attach(carrier, at, named(at));
    expect(() => store.attach(carrier, 10_001, named(10_001))).toThrow(
      expect.objectContaining({ code: 'overloaded' }),
    );
    store.attach(carrier, 10_002, { ...named(1), resume: true });
    expect(store.size).toBe(10_000);
  });

  it('The session store gives a dialer half of the sessions that others leave free, until its sessions end', async () => {
    const { clock, store } = makeStore();
    const carrier = new Carrier();
    for (let at = 1; at <= 1000; at++) store.attach(carrier, at, named(at));
    const greedy = (at: number) => ({ ...named(at), dialer: 'greedy' });
    for (let at = 1001; at <= 5500; at++)
      store.detach(store.attach(carrier, at, greedy(at)), lost());
    expect(() => store.attach(carrier, 5501, greedy(5501))).toThrow(
      expect.objectContaining({ code: 'overloaded' }),
    );
    store.attach(carrier, 5501, named(5501));
    await clock.advance(graceMs);
    store.attach(carrier, 5502, greedy(5502));
    expect(store.size).toBe(1002);
  });

  it('The session store ends a session that its peer breaks, and tells the link the reason', async () => {
    const { clock, store, ended } = makeStore();
    const carrier = new Carrier();
    const entry = store.attach(carrier, 1, mine);
    entry.session.onFrame(FrameType.open, 1, open);
    const sync = encodeSync({ streams: [], failures: [], last: true, moved: false });
    entry.session.onFrame(FrameType.sync, 0, sync);
    await clock.advance(0);
    expect(carrier.told).toEqual(['refuse 1: protocol_error']);
    expect([store.size, ended]).toEqual([0, ['protocol_error']]);
  });

  it('untilDetached of the session store ends when the last session has ended or lost its tunnel, and keeps no timer', async () => {
    const { clock, store } = makeStore();
    const first = store.attach(new Carrier(), 1, mine);
    const second = store.attach(new Carrier(), 2, { ...mine, session: 'b'.repeat(32) });
    let isLeft = false;
    const left = store
      .untilDetached(1000, new AbortController().signal)
      .then(() => (isLeft = true));
    store.detach(first, lost('cancelled'));
    await clock.advance(0);
    expect(isLeft).toBe(false);
    store.detach(second, lost());
    await left;
    expect([store.size, clock.pendingTimers]).toEqual([1, 1]);
    await store.untilDetached(1000, new AbortController().signal);
  });

  it('untilDetached of the session store ends at its time limit, or with an abort', async () => {
    const { clock, store } = makeStore();
    store.attach(new Carrier(), 1, mine);
    const late = store.untilDetached(1000, new AbortController().signal);
    await clock.advance(1000);
    await late;
    const stop = new AbortController();
    const aborted = store.untilDetached(1000, stop.signal);
    stop.abort();
    await aborted;
    expect(clock.pendingTimers).toBe(0);
  });

  it('The session store ends all sessions when it is closed, also sessions without a link', async () => {
    const { clock, store } = makeStore();
    store.attach(new Carrier(), 1, mine);
    const second = store.attach(new Carrier(), 2, { ...mine, session: 'b'.repeat(32) });
    store.detach(second, lost());
    store.close(lost('draining'));
    store.close(lost('draining'));
    expect([store.size, clock.pendingTimers]).toEqual([0, 0]);
    await store.idle(new AbortController().signal);
  });
});
