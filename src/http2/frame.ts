import type { ByteSink } from '../base/net/byte-sink.ts';

/** The types of frames (RFC 9113, section 6). Others are ignored. */
export const FrameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goAway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const FrameFlag = {
  endStream: 0x1,
  ack: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const;

export const Setting = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
  enableConnectProtocol: 0x8,
} as const;

export const frameHeaderBytes = 9;

/** The largest window, increment and stream id (31 bits). */
export const max31Bits = 0x7fff_ffff;

/** The window of a connection, and of a stream without SETTINGS_INITIAL_WINDOW_SIZE. */
export const defaultWindowBytes = 65_535;

/** Every receiver accepts frames of this size. */
export const defaultMaxFrameBytes = 16_384;

/** The bytes with which a client begins (RFC 9113, section 3.4). */
export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Writes a frame header. The payload follows with `sink.copy`. */
export function writeFrameHeader(
  sink: ByteSink,
  payloadBytes: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  const at = sink.reserve(frameHeaderBytes);
  const into = sink.slabBytes;
  into[at] = payloadBytes >>> 16;
  into[at + 1] = payloadBytes >>> 8;
  into[at + 2] = payloadBytes;
  into[at + 3] = type;
  into[at + 4] = flags;
  writeUint32(into, at + 5, streamId);
  sink.fill(frameHeaderBytes);
}

export function writeUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

/** Reads 32 bits as a number that is not negative. */
export function readUint32(from: Uint8Array, at: number): number {
  return ((from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!) >>> 0;
}
