import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SendQueue } from '../../../src/base/net/send-queue.ts';
import type { ByteSink } from '../../../src/base/net/byte-sink.ts';

/** A sink that keeps all bytes. */
class Collected implements ByteSink {
  readonly slabBytes = new Uint8Array(0);
  bytes = Buffer.alloc(0);

  reserve(): number {
    return 0;
  }

  fill(): void {}

  copy(from: Uint8Array, start: number, end: number): void {
    this.bytes = Buffer.concat([this.bytes, from.subarray(start, end)]);
  }
}

describe('The queue of a stream', () => {
  it('Copies of single bytes are joined, so that few pieces wait', () => {
    const queue = new SendQueue();
    const borrowed = Buffer.alloc(1);
    for (let at = 0; at < 10_000; at++) {
      borrowed[0] = at;
      queue.pushCopy(borrowed);
    }
    expect(queue.bytes).toBe(10_000);
    expect(queue.pieces).toBeLessThan(20);
    const sink = new Collected();
    queue.copyTo(sink, 10_000);
    expect(sink.bytes.equals(Buffer.from(Array.from({ length: 10_000 }, (_, n) => n)))).toBe(true);
  });

  it('Copies and references leave in order, however they are taken', () => {
    const push = fc.record({ bytes: fc.integer({ min: 0, max: 300 }), isCopy: fc.boolean() });
    const step = fc.oneof(push, fc.integer({ min: 0, max: 400 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new SendQueue();
        const sink = new Collected();
        let next = 0;
        let released = 0;
        const owner = { onReleased: () => void released++, onAbandoned: () => {} };
        let references = 0;
        for (const one of steps) {
          if (typeof one === 'number') {
            queue.copyTo(sink, Math.min(one, queue.bytes));
            continue;
          }
          const bytes = Buffer.from(Array.from({ length: one.bytes }, () => next++ % 256));
          if (one.isCopy) {
            queue.pushCopy(bytes);
            bytes.fill(0);
          } else {
            references++;
            queue.push(bytes, owner);
          }
        }
        queue.copyTo(sink, queue.bytes);
        const expected = Buffer.from(Array.from({ length: next }, (_, n) => n % 256));
        expect(sink.bytes.equals(expected)).toBe(true);
        expect(released).toBe(references);
        expect(queue.bytes).toBe(0);
      }),
    );
  });
});
