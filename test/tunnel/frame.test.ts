import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import {
  FrameType,
  checkFrameHeader,
  encodeFrame,
  frameName,
  isFrameType,
  readU32,
  writeU32,
} from '../../src/tunnel/frame.ts';
import { readOffset, writeOffset } from '../../src/tunnel/offset.ts';

describe('The frame header', () => {
  const types = new Set<number>(Object.values(FrameType));

  it('The frame header is accepted for each type of culvert.v1', () => {
    for (const type of types) {
      expect(isFrameType(type)).toBe(true);
      expect(checkFrameHeader(Uint8Array.of(type, ...Array<number>(11).fill(0)), 0)).toBe(type);
    }
  });

  it('The frame header is refused for every other type', () => {
    const others = Array.from({ length: 256 }, (_, type) => type).filter(
      (type) => !types.has(type),
    );
    for (const type of others) {
      const header = Uint8Array.of(type, ...Array<number>(11).fill(0));
      expect(isFrameType(type)).toBe(false);
      expect(() => checkFrameHeader(header, 0)).toThrow(TunnelError);
    }
  });

  it.each([1, 2, 3])('The frame header is refused with a bit set in byte %i', (at) => {
    for (let bit = 0; bit < 8; bit++) {
      const header = encodeFrame(FrameType.data, 1, 1).with(at, 1 << bit);
      expect(() => checkFrameHeader(header, 0)).toThrow(
        'DATA frame has flags or reserved bits set',
      );
    }
  });

  it('The frame header is read at the given offset', () => {
    const frame = Uint8Array.of(0xff, 0xff, ...encodeFrame(FrameType.fin, 1, 2));
    expect(checkFrameHeader(frame, 2)).toBe(FrameType.fin);
  });

  it('frameName returns the name of each known type, and the number of an unknown type', () => {
    expect(frameName(FrameType.goaway)).toBe('GOAWAY');
    expect(frameName(0)).toBe('0x00');
    expect(frameName(0x17)).toBe('0x17');
  });
});

describe('Numbers on the wire', () => {
  it.each([0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])(
    'The u32 %i is the same after writing and reading',
    (value) => {
      const bytes = new Uint8Array(6);
      writeU32(bytes, 1, value);
      expect(readU32(bytes, 1)).toBe(value);
      expect([bytes[0], bytes[5]]).toEqual([0, 0]);
    },
  );

  it.each([0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER])(
    'The offset %i is the same after writing and reading',
    (value) => {
      const bytes = new Uint8Array(8);
      writeOffset(bytes, 0, value);
      expect(readOffset(bytes, 0)).toBe(value);
    },
  );

  it('An offset that a JavaScript number cannot hold exactly is refused', () => {
    expect(() => readOffset(Uint8Array.of(0, 32, 0, 0, 0, 0, 0, 0), 0)).toThrow(TunnelError);
    expect(() => readOffset(new Uint8Array(8).fill(255), 0)).toThrow(TunnelError);
  });
});
