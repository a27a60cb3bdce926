import { afterEach, describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { maxDataBytes, SlabPool } from '../../src/tunnel/slab.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import {
  BulkOwner,
  CheckingOwner,
  RecordingOwner,
  sendBlock,
  turns,
} from '../websocket/link-owners.ts';

const kib = 1024;
const mib = 1024 * kib;

/** Two ends of one link, not attached. */
export interface LinkPair extends AsyncDisposable {
  readonly left: AttachableLink;
  readonly right: AttachableLink;
}

/** A pair that can lose an end. */
export interface MortalLinkPair extends LinkPair {
  /** The process of `right` is killed, so that no word of it reaches `left`. */
  vanish(): void;
}

/** What every `Link` promises; run on each implementation, and on each side of it. */
export function describeLink(name: string, makePair: () => Promise<LinkPair>): void {
  describe.each([
    { direction: 'left to right', swap: false },
    { direction: 'right to left', swap: true },
  ])(`link: ${name}, $direction`, ({ swap }) => {
    const pool = new SlabPool();
    let disposal: AsyncDisposable | undefined;

    async function pair(): Promise<{ near: AttachableLink; far: AttachableLink }> {
      const made = await makePair();
      disposal = made;
      return swap ? { near: made.right, far: made.left } : { near: made.left, far: made.right };
    }

    async function attached() {
      const { near, far } = await pair();
      const nearOwner = new RecordingOwner();
      const farOwner = new RecordingOwner();
      near.attach(nearOwner);
      far.attach(farOwner);
      return { near, far, nearOwner, farOwner };
    }

    async function bulk(totalBytes: number) {
      const { near, far } = await pair();
      const sender = new BulkOwner(near, pool);
      const receiver = new CheckingOwner();
      sender.totalBytes = totalBytes;
      near.attach(sender);
      far.attach(receiver);
      return { near, far, sender, receiver };
    }

    afterEach(async () => {
      await disposal?.[Symbol.asyncDispose]();
      disposal = undefined;
      await turns();
      expect(pool.inUseBytes).toBe(0);
    });

    it('A link carries DATA of every size that framing treats differently, in order', async () => {
      const { near, farOwner } = await attached();
      const sizes = [0, 1, 3, 113, 114, 115, 4095, 16 * kib, 65_523, 65_524, maxDataBytes, mib];
      for (const [stream, bytes] of sizes.entries()) {
        near.sendCopy(FrameType.data, 0xfedc_ba98, stream, pattern(bytes));
      }
      near.sendCopy(FrameType.fin, 0, 0, new Uint8Array(0));
      await farOwner.until(() => farOwner.frames.at(-1)?.type === FrameType.fin);
      const got = farOwner.frames.slice(0, -1);
      expect(got.map(({ session, stream, payload }) => [session, stream, payload.length])).toEqual(
        [...sizes.entries()].slice(1).map(([stream, bytes]) => [0xfedc_ba98, stream, bytes]),
      );
      for (const { payload } of got) expect(same(payload, pattern(payload.length))).toBe(true);
      expect(farOwner.emptyPieces).toBe(0);
    });

    it('A link carries other frames whole, by reference and copied, in order with DATA', async () => {
      const { near, farOwner } = await attached();
      const sizes = [0, 8, 113, 114, 4000, 30_000, 64 * kib];
      for (const [stream, bytes] of sizes.entries()) {
        near.sendCopy(FrameType.open, 1, stream, pattern(bytes));
        sendBlock(near, pool, FrameType.data, 1, stream, pattern(100));
        sendBlock(near, pool, FrameType.reset, 1, stream, pattern(bytes));
      }
      await farOwner.until(() => farOwner.frames.length === 3 * sizes.length);
      expect(
        farOwner.frames.map(({ type, stream, payload }) => [type, stream, payload.length]),
      ).toEqual(
        [...sizes.entries()].flatMap(([stream, bytes]) => [
          [FrameType.open, stream, bytes],
          [FrameType.data, stream, 100],
          [FrameType.reset, stream, bytes],
        ]),
      );
      for (const { payload } of farOwner.frames) {
        expect(same(payload, pattern(payload.length))).toBe(true);
      }
    });

    it('A link has read a copied payload when sendCopy returns', async () => {
      const { near, farOwner } = await attached();
      const payload = Uint8Array.from(pattern(50_000));
      near.sendCopy(FrameType.data, 1, 1, payload);
      payload.fill(0);
      await farOwner.until(() => farOwner.dataBytes === 50_000);
      expect(same(farOwner.frames[0]!.payload, pattern(50_000))).toBe(true);
    });

    it('A link carries both directions at once', async () => {
      const { near, far } = await pair();
      const owners = [near, far].map((link) => {
        const owner = new CrossOwner(link, pool);
        owner.totalBytes = 8 * mib;
        return owner;
      });
      near.attach(owners[0]!);
      far.attach(owners[1]!);
      near.wake();
      far.wake();
      for (const owner of owners) {
        await owner.until(() => owner.dataBytes === 8 * mib);
        expect(owner.wrongAt).toBe(-1);
      }
    });

    it('A link pulls in the call of wake, and never from inside a pull', async () => {
      const { near, sender, receiver } = await bulk(100);
      near.wake(true);
      expect(sender.sentBytes).toBe(100);
      sender.totalBytes = 300_000;
      const pull = sender.pull.bind(sender);
      let pulls = 0;
      sender.pull = () => {
        // Only a few times: an owner that always has more to say would be asked for ever.
        if (++pulls < 4) near.wake(true);
        pull();
        if (pulls < 4) near.wake(true);
      };
      near.wake(true);
      await receiver.until(() => receiver.dataBytes === 300_000);
      expect(receiver.wrongAt).toBe(-1);
    });

    it('A link stops pulling when the other end does not read, keeps the slabs, and continues without another wake', async () => {
      const totalBytes = 64 * mib;
      const { near, far, sender, receiver } = await bulk(totalBytes);
      near.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      await receiver.until(() => receiver.frames.length > 0);
      far.pause();
      near.wake();
      await quiet(() => sender.sentBytes);
      const { pulls } = sender;
      expect(near.room).toBeLessThanOrEqual(0);
      expect(sender.sentBytes).toBeGreaterThan(0);
      expect(sender.sentBytes).toBeLessThan(totalBytes / 2);
      expect(pool.inUseBytes).toBeLessThan(mib);
      await turns();
      expect(sender.pulls).toBe(pulls);
      far.resume();
      await receiver.until(() => receiver.dataBytes === totalBytes);
      expect(receiver.wrongAt).toBe(-1);
    });

    it('A link pulls again, without a wake, from an owner that pushed until the room was used up', async () => {
      const { near, far, nearOwner, farOwner } = await attached();
      near.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      await farOwner.until(() => farOwner.frames.length > 0);
      far.pause();
      let sentBytes = 0;
      for (let round = 0; round < 100; round++) {
        while (near.room > 0) {
          near.sendCopy(FrameType.data, 1, 1, patternAt(sentBytes, 30_000));
          sentBytes += 30_000;
        }
        await turns(1);
      }
      await turns();
      const { pulls } = nearOwner;
      far.resume();
      await farOwner.until(() => farOwner.dataBytes === sentBytes);
      await turns();
      expect(nearOwner.pulls).toBeGreaterThan(pulls);
      expect(near.room).toBeGreaterThan(0);
    });

    it('A link lets a control frame overtake bulk data that was not pulled yet', async () => {
      const { near, far, receiver, sender } = await bulk(64 * mib);
      near.sendCopy(FrameType.pong, 0, 0, new Uint8Array(0));
      await receiver.until(() => receiver.frames.length > 0);
      far.pause();
      near.wake();
      await quiet(() => sender.sentBytes);
      near.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      const sentBefore = sender.sentBytes;
      far.resume();
      let bytesBefore = -1;
      await receiver.until(() => {
        if (bytesBefore < 0 && receiver.frames.some(({ type }) => type === FrameType.ping)) {
          bytesBefore = receiver.dataBytes;
        }
        return receiver.dataBytes === sender.totalBytes;
      });
      expect(bytesBefore).toBe(sentBefore);
      expect(receiver.wrongAt).toBe(-1);
    });

    it('A link loses no wake, at any moment', async () => {
      const { near, sender, receiver } = await bulk(0);
      const random = generator(4711);
      const later = [
        queueMicrotask,
        setImmediate,
        (run: () => void) => process.nextTick(run),
        (run: () => void) => run(),
        (run: () => void) => setTimeout(run, 0),
      ];
      for (let round = 0; round < 300; round++) {
        const { promise, resolve } = Promise.withResolvers<void>();
        later[random(later.length)]!(() => {
          sender.totalBytes += 1 + random([1, 100, 70_000, 400_000][random(4)]!);
          near.wake(random(2) === 0);
          resolve();
        });
        await promise;
        // Sometimes wait for everything: the next wake then meets a link that is quite idle.
        if (random(4) === 0) await receiver.until(() => receiver.dataBytes === sender.totalBytes);
      }
      await receiver.until(() => receiver.dataBytes === sender.totalBytes);
      expect(receiver.wrongAt).toBe(-1);
    });

    it('A link keeps frames that arrive before its owner is set', async () => {
      const { near, far } = await pair();
      near.attach(new RecordingOwner());
      near.sendCopy(FrameType.hello, 0, 0, pattern(10));
      sendBlock(near, pool, FrameType.data, 1, 1, pattern(maxDataBytes));
      await turns();
      const farOwner = new RecordingOwner();
      far.attach(farOwner);
      await farOwner.until(() => farOwner.dataBytes === maxDataBytes);
      expect(farOwner.frames.map(({ type }) => type)).toEqual([FrameType.hello, FrameType.data]);
    });

    it('A link delivers all earlier frames before an orderly close, then closes both ends once', async () => {
      const { near, nearOwner, farOwner } = await attached();
      for (let frame = 0; frame < 40; frame++) {
        sendBlock(near, pool, FrameType.data, 1, 1, patternAt(frame * maxDataBytes, maxDataBytes));
      }
      near.close();
      near.close(new TunnelError('internal', 'a second close says nothing'));
      expect(near.room).toBeLessThanOrEqual(0);
      near.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      sendBlock(near, pool, FrameType.ping, 0, 0, new Uint8Array(0));
      near.wake(true);
      await Promise.all([nearOwner.closed(), farOwner.closed()]);
      await turns();
      expect(farOwner.dataBytes).toBe(40 * maxDataBytes);
      expect(farOwner.frames).toHaveLength(1);
      expect(nearOwner.closes).toEqual([undefined]);
      expect(farOwner.closes).toEqual([undefined]);
      expect(nearOwner.pulls).toBe(0);
    });

    it('A link tells the other end why it closes', async () => {
      for (const code of ['draining', 'protocol_error', 'overloaded', 'unknown_session'] as const) {
        const { near, nearOwner, farOwner } = await attached();
        const error = new TunnelError(code, `sentence about ${code}: näheres`);
        near.close(error);
        await Promise.all([nearOwner.closed(), farOwner.closed()]);
        expect(nearOwner.closes).toEqual([error]);
        expect(farOwner.closes[0]).toMatchObject({ code, message: error.message });
        await disposal?.[Symbol.asyncDispose]();
      }
    });

    it('A link closes once when both ends close at the same time', async () => {
      const { near, far, nearOwner, farOwner } = await attached();
      near.close(new TunnelError('draining', 'near'));
      far.close(new TunnelError('overloaded', 'far'));
      await Promise.all([nearOwner.closed(), farOwner.closed()]);
      await turns();
      expect(nearOwner.closes).toMatchObject([{ code: 'draining' }]);
      expect(farOwner.closes).toMatchObject([{ code: 'overloaded' }]);
    });

    it('A link reports nothing but the close to an owner that has closed it', async () => {
      const { near, far, nearOwner, farOwner } = await attached();
      far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      await nearOwner.until(() => nearOwner.frames.length === 1);
      far.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
      near.close();
      await Promise.all([nearOwner.closed(), farOwner.closed()]);
      expect(nearOwner.frames).toHaveLength(1);
    });

    it('A link reports an earlier close to an owner that is set later', async () => {
      const { near, far } = await pair();
      const nearOwner = new RecordingOwner();
      near.attach(nearOwner);
      near.close(new TunnelError('overloaded', 'no seat'));
      await turns();
      const farOwner = new RecordingOwner();
      far.attach(farOwner);
      await farOwner.closed();
      expect(farOwner.closes).toMatchObject([{ code: 'overloaded', message: 'no seat' }]);
    });

    it('A link closes with internal when its owner throws', async () => {
      for (const method of ['onData', 'onFrame', 'pull'] as const) {
        const { near, far, nearOwner, farOwner } = await attached();
        farOwner[method] = () => {
          throw new Error(`bug in ${method}`);
        };
        near.sendCopy(method === 'onData' ? FrameType.data : FrameType.ping, 0, 0, pattern(5));
        if (method === 'pull') far.wake();
        await Promise.all([nearOwner.closed(), farOwner.closed()]);
        expect(farOwner.closes).toMatchObject([{ code: 'internal', message: `bug in ${method}` }]);
        expect(nearOwner.closes).toMatchObject([{ code: 'internal' }]);
        await disposal?.[Symbol.asyncDispose]();
      }
    });

    it('A link refuses a frame over the limit, at both ends', async () => {
      for (const [type, bytes] of [
        [FrameType.data, mib + 1],
        [FrameType.open, 64 * kib + 1],
      ] as const) {
        const { near, nearOwner, farOwner } = await attached();
        near.sendCopy(type, 1, 1, pattern(bytes));
        await Promise.all([nearOwner.closed(), farOwner.closed()]);
        expect(farOwner.closes).toMatchObject([{ code: 'frame_too_large' }]);
        expect(nearOwner.closes).toMatchObject([{ code: 'frame_too_large' }]);
        await disposal?.[Symbol.asyncDispose]();
      }
    });
  });
}

/** What a `Link` between two processes promises besides. */
export function describeMortalLink(name: string, makePair: () => Promise<MortalLinkPair>): void {
  describeLink(name, makePair);

  it(`A link (${name}) reports link_lost when the other end vanishes with frames on their way`, async () => {
    const pool = new SlabPool();
    await using pair = await makePair();
    const owner = new BulkOwner(pair.left, pool);
    pair.left.attach(owner);
    pair.right.attach(new RecordingOwner());
    owner.totalBytes = 256 * mib;
    pair.left.wake();
    await turns(5);
    pair.vanish();
    await owner.closed();
    await turns();
    expect(owner.closes).toMatchObject([{ code: 'link_lost' }]);
    expect(pair.left.room).toBeLessThanOrEqual(0);
    expect(pool.inUseBytes).toBe(0);
  });
}

/** Sends a pattern and checks the other's. */
class CrossOwner extends BulkOwner {
  wrongAt = -1;

  override onData(session: number, stream: number, bytes: Uint8Array): void {
    CheckingOwner.prototype.onData.call(this, session, stream, bytes);
  }
}

function pattern(bytes: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes; at += pieces.at(-1)!.length) pieces.push(patternAt(at, bytes - at));
  return Buffer.concat(pieces);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Waits until a number has not changed for a while. */
async function quiet(value: () => number): Promise<void> {
  for (let before = -1; value() !== before;) {
    before = value();
    await turns(300);
  }
}

/** Pseudo-random whole numbers below a bound; the same in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
