import { describe, expect, it } from 'vitest';
import { applyMask, randomMaskKey } from '../../src/websocket/mask.ts';

/** Byte by byte, as RFC 6455 section 5.3 writes it. */
function maskedByTheBook(bytes: Uint8Array, key: number, offset: number): Uint8Array {
  return bytes.map((byte, index) => byte ^ (key >>> (8 * ((index + offset) & 3))));
}

describe('mask', () => {
  it('The mask is the mask of RFC 6455 at every alignment, length and offset', () => {
    const memory = new ArrayBuffer(400);
    for (const key of [0x3d21fa37, 0xffffffff, 0x80000001, 0x000000ff, 0]) {
      for (let at = 0; at < 5; at++) {
        for (const length of [0, 1, 2, 3, 4, 31, 32, 33, 34, 35, 64, 67, 300]) {
          for (let offset = 0; offset < 6; offset++) {
            const all = new Uint8Array(memory).fill(0x5a);
            const view = new Uint8Array(memory, at);
            const expected = maskedByTheBook(view.slice(2, 2 + length), key, offset);
            applyMask(view, 2, 2 + length, key, offset);
            expect(Buffer.compare(view.subarray(2, 2 + length), expected)).toBe(0);
            expect(all[at + 1]).toBe(0x5a);
            expect(all[at + 2 + length]).toBe(0x5a);
          }
        }
      }
    }
  });

  it('The mask undoes itself, in memory whose size is no multiple of a word', () => {
    const bytes = new Uint8Array(new ArrayBuffer(103)).map((_, index) => index);
    const before = bytes.slice();
    applyMask(bytes, 0, 103, 0x01020304, 0);
    expect(bytes).not.toEqual(before);
    applyMask(bytes, 0, 50, 0x01020304, 0);
    applyMask(bytes, 50, 103, 0x01020304, 50);
    expect(bytes).toEqual(before);
  });

  it('The mask has another random key each time', () => {
    const keys = new Set(Array.from({ length: 3000 }, () => randomMaskKey()));
    expect(keys.size).toBeGreaterThan(2990);
  });
});
