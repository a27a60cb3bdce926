import { TunnelError } from './errors.ts';
import { readU32, writeU32 } from './frame.ts';

/**
 * Offsets count the bytes of one direction of a stream from its start; on the wire they are u64,
 * here safe integers.
 */
const u32Range = 0x1_0000_0000;

export function writeOffset(into: Uint8Array, at: number, offset: number): void {
  writeU32(into, at, Math.floor(offset / u32Range));
  writeU32(into, at + 4, offset >>> 0);
}

/** @throws TunnelError `protocol_error` beyond 2^53 - 1, which no stream reaches */
export function readOffset(from: Uint8Array, at: number): number {
  const offset = readU32(from, at) * u32Range + readU32(from, at + 4);
  if (!Number.isSafeInteger(offset)) {
    throw new TunnelError('protocol_error', `offset ${offset} is beyond what a stream can carry`);
  }
  return offset;
}
