import { describe, expect, it } from 'vitest';
import { PendingControl } from '../../src/tunnel/pending-control.ts';
import { ReceiveWindow } from '../../src/tunnel/receive-window.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { Stream } from '../../src/tunnel/stream.ts';
import type { StreamRole } from '../../src/tunnel/stream-request.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';

const kept = 1024 * 1024;

/** A stream of a passive session. The other end knows the stream and understands a stop. */
function makeStream(role: StreamRole, windowBytes = 0): Stream {
  const receiving = new ReceiveWindow({
    initialBytes: 1000,
    minBytes: 1000,
    maxBytes: () => 1000,
    budget: new WindowBudget(1000),
  });
  const handler = { onData() {}, onFin() {}, onWritable() {}, onClose() {} };
  const owner = { grant: () => false, ended() {} };
  const scheduler = { schedule() {}, hasData() {} };
  const pool = new SlabPool();
  const stream = new Stream({ number: 1, role, receiving, pool, owner, scheduler }, () => handler);
  if (role === 'opener') {
    stream.open({ target: sampleTarget, timeoutMs: 0 });
    stream.openSent();
  } else {
    stream.openArrived({ window: windowBytes }, kept);
  }
  stream.takePendingControl();
  return stream;
}

/** A stream that was given `written` bytes and has sent `sent` of them. */
function sending(written: number, sent: number, role: StreamRole = 'opener'): Stream {
  const stream = makeStream(role, sent);
  if (role === 'opener') stream.openedArrived({ window: sent }, kept);
  else stream.accept();
  stream.write(patternAt(0, written));
  stream.nextData();
  stream.creditArrived(0, 10_000, kept);
  stream.takePendingControl();
  return stream;
}

/** A stream that has sent a FIN behind 10 bytes. */
function finished(): Stream {
  const stream = sending(10, 10);
  stream.fin();
  stream.sending.finSent();
  stream.takePendingControl();
  return stream;
}

describe('The content of OPEN', () => {
  it('The stream forgets the content of OPEN with the answer', () => {
    const stream = makeStream('opener');
    expect(stream.request?.target).toBe(sampleTarget);
    stream.openedArrived({ window: 0 }, kept);
    expect(stream.request).toBeUndefined();
  });

  it('The stream keeps the content of an OPEN that waits to be sent when a peer answers early', () => {
    const stream = makeStream('opener');
    stream.open({ target: sampleTarget, timeoutMs: 0 });
    stream.openedArrived({ window: 0 }, kept);
    expect(stream.takePendingControl() & PendingControl.open).not.toBe(0);
    expect(stream.request?.target).toBe(sampleTarget);
  });
});

describe('A stream on a new link', () => {
  it('The stream sends the bytes again that the other end does not have, and schedules CREDIT', () => {
    const stream = sending(1000, 700);
    expect(stream.resync(400, 10_000, kept)).toBe(300);
    expect(stream.sending).toMatchObject({ sent: 400, unsentBytes: 600 });
    expect(stream.pendingControl).toBe(PendingControl.credit);
  });

  it('The stream sends no byte again if the other end has all of them', () => {
    expect(sending(1000, 700).resync(700, 10_000, kept)).toBe(0);
  });

  it('The stream accepts a grant that was lost with the old link, and never a lower one', () => {
    const stream = sending(1000, 700);
    stream.resync(700, 20_000, kept);
    expect(stream.sending.limit).toBe(20_000);
    stream.resync(700, 800, kept);
    expect(stream.sending.limit).toBe(20_000);
  });

  it('The stream accepts no grant beyond the bytes that it is willing to keep', () => {
    const stream = sending(1000, 700);
    stream.resync(500, Number.MAX_SAFE_INTEGER, kept);
    expect(stream.sending.limit).toBe(500 + kept);
  });

  it('The stream does not repeat a FIN that has arrived', () => {
    const stream = finished();
    expect(stream.resync(11, 10_000, kept)).toBe(0);
    expect(stream.sending).toMatchObject({ hasSentFin: true, isFinAcknowledged: true });
    expect(stream.pendingControl).toBe(PendingControl.credit);
  });

  it('The stream repeats a lost FIN at once if no byte is missing', () => {
    const stream = finished();
    stream.resync(10, 10_000, kept);
    expect(stream.sending.hasSentFin).toBe(false);
    expect(stream.pendingControl).toBe(PendingControl.credit | PendingControl.fin);
  });

  it('The stream repeats a lost FIN behind the missing bytes', () => {
    const stream = finished();
    stream.resync(4, 10_000, kept);
    expect(stream.sending.hasSentFin).toBe(false);
    expect(stream.pendingControl).toBe(PendingControl.credit);
    expect(stream.nextData()).toBeDefined();
    expect(stream.pendingControl).toBe(PendingControl.credit | PendingControl.fin);
  });

  it('The stream holds a pending FIN back until the missing bytes are sent', () => {
    const stream = sending(10, 10);
    stream.fin();
    expect(stream.pendingControl).toBe(PendingControl.fin);
    stream.resync(4, 10_000, kept);
    expect(stream.pendingControl).toBe(PendingControl.credit);
  });

  it('The stream sends no FIN that was not requested', () => {
    const stream = sending(10, 10);
    stream.resync(10, 10_000, kept);
    expect(stream.pendingControl).toBe(PendingControl.credit);
  });

  it.each(['opener', 'acceptor'] as const)(
    'The stream holds a FIN back until OPENED, at the %s',
    (role) => {
      const stream = makeStream(role);
      stream.fin();
      stream.resync(0, 1000, kept);
      expect(stream.pendingControl).toBe(PendingControl.credit);
    },
  );

  it('The stream of an acceptor repeats OPENED, which may have been lost', () => {
    const stream = sending(10, 5, 'acceptor');
    stream.resync(0, 1000, kept);
    expect(stream.pendingControl).toBe(PendingControl.credit | PendingControl.opened);
  });

  it('The stream of an acceptor that is still dialing sends no OPENED', () => {
    const stream = makeStream('acceptor');
    stream.resync(0, 1000, kept);
    expect(stream.pendingControl).toBe(PendingControl.credit);
  });

  it.each([
    ['was never sent', sending(1000, 700), 701],
    ['is a FIN that was never sent', sending(700, 700), 701],
    ['is behind a FIN', finished(), 12],
    ['is less than nothing', sending(1000, 700), -1],
  ])('The stream refuses an offset that %s', (_, stream, received) => {
    const { sent } = stream.sending;
    expect(() => stream.resync(received, 1000, kept)).toThrow(`says that it has ${received} bytes`);
    expect(stream.sending.sent).toBe(sent);
    expect(stream.pendingControl).toBe(0);
  });

  it('The stream refuses an offset below the acknowledged one', () => {
    const stream = sending(1000, 700);
    stream.creditArrived(300, 10_000, kept);
    expect(() => stream.resync(299, 10_000, kept)).toThrow('300 acknowledged');
    expect(stream.resync(300, 10_000, kept)).toBe(400);
  });

  it('The stream refuses to repeat a FIN that was acknowledged', () => {
    const stream = finished();
    stream.creditArrived(11, 10_000, kept);
    expect(() => stream.resync(10, 10_000, kept)).toThrow('says that it has 10 bytes');
  });
});
