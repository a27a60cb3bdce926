import { createHash } from 'node:crypto';

/**
 * Bytes that both ends can check; testkit/ground/go/pattern makes the same ones. The period is a
 * prime, so a lost, doubled or swapped block of any usual size shows.
 */
const period = 65_521;

const repeated = Buffer.alloc(4 * period);
for (let i = 0; i < repeated.length; i++) {
  const at = i % period;
  repeated[i] = (at * 167 + (at >> 8) * 13) & 0xff;
}

/** At most 192 KiB of the pattern from `offset` on; a view that must not be written to. */
export function patternAt(offset: number, length: number): Buffer {
  const from = offset % period;
  return repeated.subarray(from, from + Math.min(length, 3 * period));
}

/** The hexadecimal SHA-256 of the first `length` bytes of the pattern. */
export function patternSha256(length: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < length;) {
    const piece = patternAt(at, length - at);
    hash.update(piece);
    at += piece.length;
  }
  return hash.digest('hex');
}
