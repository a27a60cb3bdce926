/** RFC 6455, section 5.2. */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** Control frames (close, ping, pong) carry at most this many bytes; so do our text messages. */
export const maxControlPayloadBytes = 125;

export const maxMessageHeaderBytes = 14;

/** How many bytes the header of a frame has, from its second byte. */
export function headerBytesOf(secondByte: number): number {
  const length = secondByte & 0x7f;
  const lengthBytes = length === 127 ? 8 : length === 126 ? 2 : 0;
  return 2 + lengthBytes + ((secondByte & 0x80) === 0 ? 0 : 4);
}

/** How many bytes the header of an unfragmented frame with `payloadBytes` has. */
export function messageHeaderBytes(payloadBytes: number, masked: boolean): number {
  const lengthBytes = payloadBytes < 126 ? 0 : payloadBytes < 65_536 ? 2 : 8;
  return 2 + lengthBytes + (masked ? 4 : 0);
}

/**
 * Writes the header of an unfragmented frame at `at`.
 *
 * @param maskKey four bytes, the first in the lowest eight bits; undefined: the frame is not masked
 */
export function writeMessageHeader(
  into: Uint8Array,
  at: number,
  opcode: Opcode,
  payloadBytes: number,
  maskKey: number | undefined,
): void {
  const maskBit = maskKey === undefined ? 0 : 0x80;
  into[at] = 0x80 | opcode;
  let next = at + 2;
  if (payloadBytes < 126) {
    into[at + 1] = maskBit | payloadBytes;
  } else if (payloadBytes < 65_536) {
    into[at + 1] = maskBit | 126;
    into[next++] = payloadBytes >>> 8;
    into[next++] = payloadBytes;
  } else {
    into[at + 1] = maskBit | 127;
    // No message of ours comes near 2^32 bytes.
    into.fill(0, next, next + 4);
    into[next + 4] = payloadBytes >>> 24;
    into[next + 5] = payloadBytes >>> 16;
    into[next + 6] = payloadBytes >>> 8;
    into[next + 7] = payloadBytes;
    next += 8;
  }
  if (maskKey === undefined) return;
  into[next] = maskKey;
  into[next + 1] = maskKey >>> 8;
  into[next + 2] = maskKey >>> 16;
  into[next + 3] = maskKey >>> 24;
}
