import { describe, expect, it } from 'vitest';
import { CreditGuard } from '../../src/broker/edge/credit-guard.ts';
import { EdgeLink, type EdgeSocket } from '../../src/broker/edge/edge-link.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { decodeGoAway } from '../../src/tunnel/message.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import { RecordingOwner, sendBlock, turns } from '../websocket/link-owners.ts';

/** What a link does to its socket. */
class Socket implements EdgeSocket {
  readonly sent: Uint8Array[] = [];
  readonly closes: (readonly [number | undefined, string | undefined])[] = [];
  broken = false;

  send(message: ArrayBuffer | ArrayBufferView): void {
    if (this.broken) throw new TypeError('cannot send on a closed socket');
    this.sent.push(message as Uint8Array);
  }

  close(code?: number, reason?: string): void {
    this.closes.push([code, reason]);
  }

  serializeAttachment(): void {}
}

function linked(end: 'agent' | 'dialer' = 'dialer') {
  const socket = new Socket();
  const guard = new CreditGuard();
  const pings = { lastAtMs: 0 };
  const link = new EdgeLink(socket, {
    end,
    peer: 'p',
    acceptedAtMs: Date.now() - 100_000,
    pingedAtMs: () => pings.lastAtMs,
    guard,
  });
  const owner = new RecordingOwner();
  link.attach(owner);
  return { socket, guard, link, owner, pings };
}

const frame = (type: FrameType, payload: Uint8Array) => encodeFrame(type, 0xfedc_ba98, 7, payload);

describe('An edge link whose other end does not read control frames', () => {
  const answer = new Uint8Array(1024);
  const isPing = (sent: Uint8Array | undefined) => sent?.[0] === FrameType.ping;

  it('An edge link closes when the other end does not prove that it reads', async () => {
    const { link, socket, owner } = linked();
    for (let sent = 0; sent < 10_000; sent++) link.sendCopy(FrameType.refused, 7, sent, answer);
    await turns();
    expect(owner.closes.map((error) => error?.code)).toEqual(['overloaded']);
    expect(socket.sent.filter(isPing)).toHaveLength(1);
    const sentBytes = socket.sent.reduce((sum, { length }) => sum + length, 0);
    expect(sentBytes).toBeLessThan(4.1 * 2 ** 20);
  });

  it('An edge link stays open when each PING is answered, without telling its owner', () => {
    const { link, socket, owner } = linked();
    for (let sent = 0; sent < 10_000; sent++) {
      link.sendCopy(FrameType.refused, 7, sent, answer);
      const last = socket.sent.at(-1);
      if (isPing(last)) link.receive(encodeFrame(FrameType.pong, 0, 0, last!.slice(12)));
    }
    expect([socket.closes, owner.frames]).toEqual([[], []]);
  });

  it('An edge link closes when the PONGs do not match', () => {
    const { link, socket } = linked();
    for (let sent = 0; sent < 10_000; sent++) {
      link.sendCopy(FrameType.refused, 7, sent, answer);
      link.receive(encodeFrame(FrameType.pong, 0, 0, new Uint8Array(8)));
    }
    expect(socket.closes).toHaveLength(1);
  });
});

describe('EdgeLink', () => {
  it('An edge link delivers a message as one frame', () => {
    const { link, owner } = linked();
    link.receive(frame(FrameType.data, patternAt(0, 100)));
    link.receive(frame(FrameType.reset, patternAt(0, 20)));
    expect(owner.frames.map(({ type, session, stream }) => [type, session, stream])).toEqual([
      [FrameType.data, 0xfedc_ba98, 7],
      [FrameType.reset, 0xfedc_ba98, 7],
    ]);
  });

  it('An edge link delivers the PONG of an agent, which proves that its process lives', () => {
    const pong = encodeFrame(FrameType.pong, 0, 0, new Uint8Array(8));
    const [agent, dialer] = [linked('agent'), linked('dialer')];
    for (const { link } of [agent, dialer]) link.receive(pong);
    expect(agent.owner.frames.map(({ type }) => type)).toEqual([FrameType.pong]);
    expect(dialer.owner.frames).toEqual([]);
  });

  it('An edge link sends frames by reference and copied', () => {
    const { link, socket } = linked();
    const pool = new SlabPool();
    link.sendCopy(FrameType.open, 0xfedc_ba98, 7, patternAt(0, 50));
    sendBlock(link, pool, FrameType.fin, 0xfedc_ba98, 7, patternAt(0, 8));
    expect(socket.sent).toEqual([
      frame(FrameType.open, patternAt(0, 50)),
      frame(FrameType.fin, patternAt(0, 8)),
    ]);
    expect(pool.inUseBytes).toBe(0);
  });

  it('An edge link reuses the buffer of a whole DATA message, and never writes before another payload', () => {
    const { link, socket } = linked();
    const message = frame(FrameType.data, patternAt(0, 1000));
    const copy = message.slice();
    link.sendCopy(FrameType.data, 0xfedc_ba98, 7, message.subarray(12));
    expect(socket.sent[0]!.buffer).toBe(message.buffer);
    expect(socket.sent[0]).toEqual(copy);
    for (const [type, payload] of [
      [FrameType.data, message.subarray(13)],
      [FrameType.data, message.subarray(12, 900)],
      [FrameType.credit, message.subarray(12)],
    ] as const) {
      link.sendCopy(type, 1, 1, payload);
      expect(socket.sent.at(-1)!.buffer).not.toBe(message.buffer);
    }
    expect(message).toEqual(copy);
  });

  it("An edge link closes with the protocol's code and sentence, and tells its owner later, once", async () => {
    const { link, socket, owner } = linked();
    const error = new TunnelError('unknown_session', 'not yours');
    link.close(error);
    link.close();
    link.lost(undefined);
    expect(owner.closes).toEqual([]);
    await turns(1);
    expect(owner.closes).toEqual([error]);
    expect(socket.closes).toEqual([[4015, 'unknown_session: not yours']]);
    expect(socket.sent).toEqual([]);
  });

  it.each(['draining', 'overloaded'] as const)(
    'An edge link sends GOAWAY before it closes as %s',
    (code) => {
      const { link, socket } = linked();
      link.close(new TunnelError(code, 'come back'));
      expect(socket.sent).toHaveLength(1);
      expect(socket.sent[0]![0]).toBe(FrameType.goaway);
      expect(decodeGoAway(socket.sent[0]!.subarray(12))).toMatchObject({ scope: 'broker' });
      expect(socket.closes).toHaveLength(1);
    },
  );

  it('An edge link closes on a message that is no frame, and ignores later messages', async () => {
    const { link, socket, owner } = linked();
    link.receive(patternAt(0, 5));
    link.receive(frame(FrameType.data, patternAt(0, 10)));
    link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
    await turns(1);
    expect(owner.closes).toMatchObject([{ code: 'protocol_error' }]);
    expect(owner.frames).toEqual([]);
    expect(socket.sent).toEqual([]);
  });

  it('An edge link ignores a socket that throws, because the runtime reports it', () => {
    const { link, socket, owner } = linked();
    socket.broken = true;
    link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
    link.lost(new TunnelError('link_lost', 'gone'));
    expect(owner.closes).toMatchObject([{ code: 'link_lost' }]);
  });

  it('An edge link has the room that the guard counts, and pulls when it is woken', async () => {
    const { link, guard, owner } = linked();
    expect(link.room).toBe(guard.roomBytes);
    link.wake();
    expect(owner.pulls).toBe(0);
    await turns(1);
    expect(owner.pulls).toBe(1);
    link.wake(true);
    expect(owner.pulls).toBe(2);
    link.close();
    expect(link.room).toBe(0);
  });

  it('An edge link counts silence from the last message or ping, else from its acceptance', () => {
    const { link, pings } = linked();
    expect(link.silentMs).toBeGreaterThanOrEqual(100_000);
    pings.lastAtMs = Date.now() - 50_000;
    expect(link.silentMs).toBeGreaterThanOrEqual(50_000);
    expect(link.silentMs).toBeLessThan(100_000);
    link.receive(frame(FrameType.ping, patternAt(0, 8)));
    expect(link.silentMs).toBeLessThan(50_000);
  });

  it('An edge link ends the count of its session when it closes', () => {
    const { link, guard } = linked();
    const free = guard.roomBytes;
    link.watch(5);
    link.sendCopy(FrameType.data, 5, 1, patternAt(0, 100));
    expect(guard.roomBytes).toBe(free - 100);
    link.lost(undefined);
    expect(guard.roomBytes).toBe(free);
  });
});
