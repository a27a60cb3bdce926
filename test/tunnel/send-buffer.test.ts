import { describe, expect, it } from 'vitest';
import { bulkPieceBytes } from '../../src/base/bulk-piece-bytes.ts';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';
import { SendBuffer } from '../../src/tunnel/send-buffer.ts';
import { type Block, SlabPool, maxDataBytes } from '../../src/tunnel/slab.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';

const smallSlabBytes = 4 * 1024;
const largeSlabBytes = maxDataBytes + frameHeaderBytes;
const unlimited = Number.MAX_SAFE_INTEGER;

function payload(block: Block): Uint8Array {
  return block.slab.bytes.slice(block.start + frameHeaderBytes, block.end);
}

/** Takes every frame that `creditBytes` allow and gives their payloads, joined. */
function drain(buffer: SendBuffer, creditBytes = unlimited): { sizes: number[]; bytes: Buffer } {
  const payloads: Uint8Array[] = [];
  for (let left = creditBytes; ;) {
    const block = buffer.next(left);
    if (block === undefined) break;
    const bytes = payload(block);
    left -= bytes.length;
    payloads.push(bytes);
  }
  return { sizes: payloads.map(({ length }) => length), bytes: Buffer.concat(payloads) };
}

describe('SendBuffer', () => {
  it('The send buffer returns the written bytes in order, in frames of at most 64 KiB', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 100_000));
    buffer.append(patternAt(100_000, 50_000));
    const { sizes, bytes } = drain(buffer);
    expect(sizes).toEqual([maxDataBytes, maxDataBytes, 150_000 - 2 * maxDataBytes]);
    expect(bytes.equals(patternAt(0, 150_000))).toBe(true);
  });

  it("The send buffer copies, so later changes of the writer's array have no effect", () => {
    const buffer = new SendBuffer(new SlabPool());
    const bytes = Uint8Array.of(1, 2, 3);
    buffer.append(bytes);
    bytes.fill(9);
    expect([...payload(buffer.next(unlimited)!)]).toEqual([1, 2, 3]);
  });

  it('The send buffer leaves free bytes before every frame, which no other frame uses', () => {
    const buffer = new SendBuffer(new SlabPool());
    const endOf = new Map<Uint8Array, number>();
    const check = (block: Block | undefined): void => {
      const { slab, start, end } = block!;
      expect(start - (endOf.get(slab.bytes) ?? 0)).toBeGreaterThanOrEqual(0);
      expect(end).toBeLessThanOrEqual(slab.bytes.length);
      endOf.set(slab.bytes, end);
    };
    for (const length of [1, 700, 1, 3000, 64_000, 5, 200_000]) {
      buffer.append(patternAt(0, length));
      check(buffer.next(unlimited));
    }
    // The rest goes in pieces, so frames are cut as well.
    for (let block = buffer.next(1000); block !== undefined; block = buffer.next(1000)) {
      check(block);
    }
  });

  it.each([bulkPieceBytes, maxDataBytes])(
    'The send buffer makes a frame of each write of %i bytes, also of those that wait',
    (length) => {
      const buffer = new SendBuffer(new SlabPool());
      for (let write = 0; write < 2; write++) buffer.append(patternAt(write * length, length));
      const { sizes, bytes } = drain(buffer);
      expect(sizes).toEqual([length, length]);
      expect(bytes.equals(patternAt(0, 2 * length))).toBe(true);
    },
  );

  it('The send buffer merges small writes into one frame while they wait', () => {
    const buffer = new SendBuffer(new SlabPool());
    for (let at = 0; at < 1000; at++) buffer.append(patternAt(at, 1));
    const { sizes, bytes } = drain(buffer);
    expect(sizes).toEqual([1000]);
    expect(bytes.equals(patternAt(0, 1000))).toBe(true);
  });

  it('The send buffer adds nothing to a frame that a link already has', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(Uint8Array.of(1));
    const sent = buffer.next(unlimited)!;
    buffer.append(Uint8Array.of(2));
    expect([...payload(sent)]).toEqual([1]);
    expect([...payload(buffer.next(unlimited)!)]).toEqual([2]);
  });

  it('The send buffer puts later frames behind earlier frames in the same slab', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    for (let at = 0; at < 50; at++) {
      buffer.append(patternAt(at, 1));
      buffer.next(unlimited);
    }
    expect(pool.inUseBytes).toBe(smallSlabBytes);
  });

  it('The send buffer uses a small slab for a few bytes and large slabs for bulk', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    buffer.append(Uint8Array.of(1));
    expect(pool.inUseBytes).toBe(smallSlabBytes);
    buffer.append(patternAt(1, 2 * maxDataBytes));
    expect(pool.inUseBytes).toBeLessThanOrEqual(smallSlabBytes + 2 * largeSlabBytes);
  });

  it('The send buffer returns nothing without credit, and cuts the frame where the credit ends', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 10_000));
    expect(buffer.next(0)).toBeUndefined();
    expect(buffer.next(-5)).toBeUndefined();
    expect(payload(buffer.next(300)!).length).toBe(300);
    expect(buffer.sent).toBe(300);
    expect(buffer.unsentBytes).toBe(9_700);
    const rest = drain(buffer);
    expect(rest.bytes.equals(patternAt(300, 9_700))).toBe(true);
  });

  it('The send buffer continues to fill the frame that remained after a cut', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 1000));
    buffer.next(10);
    buffer.append(patternAt(1000, 500));
    expect(drain(buffer)).toEqual({ sizes: [1490], bytes: Buffer.from(patternAt(10, 1490)) });
  });

  it.each([
    { creditBytes: 1, cuts: 1000, slabBytes: 4 * smallSlabBytes },
    { creditBytes: smallSlabBytes, cuts: 14, slabBytes: largeSlabBytes },
  ])(
    'The send buffer needs little more memory than the bytes have if a peer grants $creditBytes at a time and acknowledges none',
    ({ creditBytes, cuts, slabBytes }) => {
      const pool = new SlabPool();
      const buffer = new SendBuffer(pool);
      buffer.append(patternAt(0, 60_000));
      const sent = Array.from({ length: cuts }, () => buffer.next(creditBytes)!);
      expect(pool.inUseBytes).toBeLessThanOrEqual(largeSlabBytes + slabBytes);
      expect(Buffer.concat(sent.map(payload)).equals(patternAt(0, cuts * creditBytes))).toBe(true);
      drain(buffer);
      buffer.acknowledge(60_000);
      expect(pool.inUseBytes).toBe(0);
    },
  );

  it('The send buffer loses no byte when it cuts byte by byte', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 500));
    const pieces: Uint8Array[] = [];
    for (let block = buffer.next(1); block !== undefined; block = buffer.next(1)) {
      pieces.push(payload(block));
    }
    expect(pieces).toHaveLength(500);
    expect(Buffer.concat(pieces).equals(patternAt(0, 500))).toBe(true);
  });

  it('The send buffer keeps sent bytes until they are acknowledged, and then holds no slab', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    buffer.append(patternAt(0, 150_000));
    drain(buffer);
    expect(buffer.keptBytes).toBe(150_000);
    const all = pool.inUseBytes;
    buffer.acknowledge(maxDataBytes - 1);
    expect(pool.inUseBytes).toBe(all);
    buffer.acknowledge(maxDataBytes);
    expect(pool.inUseBytes).toBe(all - largeSlabBytes);
    buffer.acknowledge(150_000);
    expect(buffer.keptBytes).toBe(0);
    expect(pool.inUseBytes).toBe(0);
  });

  // In quadratic time, this takes half a minute.
  it(
    'The send buffer takes no quadratic time if a peer acknowledges many frames one by one',
    { timeout: 10_000 },
    () => {
      const pool = new SlabPool();
      const buffer = new SendBuffer(pool);
      for (let at = 0; at < 100_000; at++) {
        buffer.append(Uint8Array.of(1));
        buffer.next(1);
      }
      for (let offset = 1; offset <= 100_000; offset++) buffer.acknowledge(offset);
      expect(pool.inUseBytes).toBe(0);
    },
  );

  it('The send buffer that goes back after acknowledgements of single frames sends the others again', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    for (let at = 0; at < 10; at++) {
      buffer.append(patternAt(at, 1));
      buffer.next(1);
    }
    for (let offset = 1; offset <= 3; offset++) buffer.acknowledge(offset);
    expect(buffer.rewind(4)).toBe(6);
    expect(drain(buffer).bytes.equals(patternAt(4, 6))).toBe(true);
    buffer.acknowledge(10);
    expect(pool.inUseBytes).toBe(0);
  });

  it('The send buffer never frees unsent bytes, whatever the other end acknowledges', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 1000));
    buffer.next(400);
    buffer.acknowledge(1_000_000);
    expect(buffer.keptBytes).toBe(600);
    expect(drain(buffer).bytes.equals(patternAt(400, 600))).toBe(true);
  });

  it('The send buffer ignores an acknowledgement that is older than the last', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 100));
    drain(buffer);
    buffer.acknowledge(100);
    buffer.acknowledge(10);
    expect(buffer.keptBytes).toBe(0);
  });

  it('The send buffer does not reuse a slab that a link still reads', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    buffer.append(patternAt(0, 100));
    const { slab } = buffer.next(unlimited)!;
    slab.retain();
    buffer.acknowledge(100);
    expect(pool.inUseBytes).toBe(smallSlabBytes);
    slab.release();
    expect(pool.inUseBytes).toBe(0);
  });

  it('The send buffer returns every slab when it is cleared, once', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    buffer.append(patternAt(0, 190_000));
    buffer.next(10);
    buffer.next(unlimited);
    buffer.clear();
    expect(pool.inUseBytes).toBe(0);
    buffer.clear();
    expect(pool.inUseBytes).toBe(0);
    expect(buffer.next(unlimited)).toBeUndefined();
    expect(buffer.unsentBytes).toBe(0);
  });
});

describe('SendBuffer.rewind', () => {
  const written = 150_000;

  /** 150,000 bytes in three frames, all sent, and `acknowledged` of them known to have arrived. */
  function sent(pool: SlabPool, acknowledged = 0): SendBuffer {
    const buffer = new SendBuffer(pool);
    buffer.append(patternAt(0, written));
    drain(buffer);
    buffer.acknowledge(acknowledged);
    return buffer;
  }

  it.each([
    ['the start', 0],
    ['inside the first frame', 1],
    ['just before the edge of a frame', maxDataBytes - 5],
    ['the edge of a frame', maxDataBytes],
    ['just behind the edge of a frame', maxDataBytes + 1],
    ['inside a later frame', maxDataBytes + 40_000],
    ['inside the last frame', written - 1],
    ['where it is', written],
  ])('The send buffer that goes back to %s sends the rest again, byte for byte', (_, offset) => {
    const pool = new SlabPool();
    const buffer = sent(pool);
    expect(buffer.rewind(offset)).toBe(written - offset);
    expect(buffer).toMatchObject({ sent: offset, received: offset, unsentBytes: written - offset });
    expect(drain(buffer).bytes.equals(patternAt(offset, written - offset))).toBe(true);
    buffer.acknowledge(written);
    expect(pool.inUseBytes).toBe(0);
  });

  it('The send buffer goes back to the acknowledged offset, at the edge or in the middle of a frame', () => {
    for (const offset of [maxDataBytes, 100_000]) {
      const pool = new SlabPool();
      const buffer = sent(pool, offset);
      expect(buffer.rewind(offset)).toBe(written - offset);
      expect(drain(buffer).bytes.equals(patternAt(offset, written - offset))).toBe(true);
      buffer.acknowledge(written);
      expect(pool.inUseBytes).toBe(0);
    }
  });

  it('The send buffer goes back again and again, a few bytes further each time', () => {
    const pool = new SlabPool();
    const buffer = sent(pool);
    for (let offset = 0; offset < written; offset += 7_001) {
      buffer.rewind(offset);
      const { bytes } = drain(buffer, 10_000);
      expect(bytes.equals(patternAt(offset, Math.min(10_000, written - offset)))).toBe(true);
    }
    buffer.clear();
    expect(pool.inUseBytes).toBe(0);
  });

  it('The send buffer that goes back keeps the slabs that it needs and returns the others', () => {
    const pool = new SlabPool();
    const buffer = sent(pool);
    buffer.rewind(maxDataBytes + 10);
    expect(pool.inUseBytes).toBe(2 * largeSlabBytes);
    // A slab that is taken now must not be one in which bytes wait.
    for (let i = 0; i < 8; i++) pool.take(maxDataBytes).bytes.fill(0xee);
    const { bytes } = drain(buffer);
    expect(bytes.equals(patternAt(maxDataBytes + 10, bytes.length))).toBe(true);
    expect(bytes).toHaveLength(written - maxDataBytes - 10);
  });

  it('The send buffer that goes back does not change the frames that a link has and has not yet written', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    buffer.append(patternAt(0, 1000));
    const given = buffer.next(600)!;
    given.slab.retain();
    buffer.rewind(100);
    for (let block = buffer.next(300); block !== undefined; block = buffer.next(300)) {
      block.slab.bytes.fill(0xee, block.start, block.start + frameHeaderBytes);
    }
    expect(patternAt(0, 600).equals(payload(given))).toBe(true);
    buffer.clear();
    given.slab.release();
    expect(pool.inUseBytes).toBe(0);
  });

  it('The send buffer packs many small frames into few slabs', () => {
    const pool = new SlabPool();
    const buffer = new SendBuffer(pool);
    for (let at = 0; at < 300; at++) {
      buffer.append(patternAt(at * 200, 200));
      buffer.next(unlimited);
    }
    buffer.rewind(0);
    expect(pool.inUseBytes).toBe(largeSlabBytes);
    expect(drain(buffer)).toEqual({ sizes: [60_000], bytes: Buffer.from(patternAt(0, 60_000)) });
  });

  it('The send buffer that goes back accepts more bytes behind the repeated bytes', () => {
    const buffer = new SendBuffer(new SlabPool());
    buffer.append(patternAt(0, 5_000));
    buffer.next(3_000);
    buffer.rewind(1_000);
    buffer.append(patternAt(5_000, 90_000));
    expect(drain(buffer).bytes.equals(patternAt(1_000, 94_000))).toBe(true);
  });

  it('The send buffer that goes back sends again within the credit', () => {
    const buffer = sent(new SlabPool());
    buffer.rewind(50_000);
    expect(drain(buffer, 30_000).bytes.equals(patternAt(50_000, 30_000))).toBe(true);
    expect(buffer.unsentBytes).toBe(70_000);
  });
});
