import { TunnelError } from './errors.ts';

/**
 * docs/protocol.md, "Frames": type u8, flags u8 (zero), reserved u16 (zero), session u32, stream
 * u32, payload.
 */
export const frameHeaderBytes = 12;

export const FrameType = {
  hello: 0x01,
  welcome: 0x02,
  attach: 0x03,
  detach: 0x04,
  ping: 0x05,
  pong: 0x06,
  goaway: 0x07,
  open: 0x10,
  opened: 0x11,
  refused: 0x12,
  data: 0x13,
  fin: 0x14,
  reset: 0x15,
  credit: 0x16,
  sync: 0x19,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

const names = new Map<number, string>(
  Object.entries(FrameType).map(([name, type]) => [type, name.toUpperCase()]),
);

/** The name of a frame type as docs/protocol.md spells it. */
export function frameName(type: number): string {
  return names.get(type) ?? `0x${type.toString(16).padStart(2, '0')}`;
}

export function isFrameType(type: number): type is FrameType {
  return names.has(type);
}

/** Writes a frame header at `at`; the caller has the room. */
export function writeFrameHeader(
  into: Uint8Array,
  at: number,
  type: FrameType,
  session: number,
  stream: number,
): void {
  into[at] = type;
  into[at + 1] = 0;
  into[at + 2] = 0;
  into[at + 3] = 0;
  writeU32(into, at + 4, session);
  writeU32(into, at + 8, stream);
}

export function writeU32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

export function readU32(from: Uint8Array, at: number): number {
  return ((from[at]! << 24) | (from[at + 1]! << 16) | (from[at + 2]! << 8) | from[at + 3]!) >>> 0;
}

/** A whole frame as fresh bytes; for tests, tools and frames sent once in a link's life. */
export function encodeFrame(
  type: FrameType,
  session: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + payload.length);
  writeFrameHeader(frame, 0, type, session, stream);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** Checks a complete header. @throws TunnelError `protocol_error` */
export function checkFrameHeader(header: Uint8Array, at: number): FrameType {
  const type = header[at]!;
  if (!isFrameType(type)) {
    throw new TunnelError(
      'protocol_error',
      `frame type ${frameName(type)} is not one of culvert.v1`,
    );
  }
  if ((header[at + 1]! | header[at + 2]! | header[at + 3]!) !== 0) {
    throw new TunnelError(
      'protocol_error',
      `${frameName(type)} frame has flags or reserved bits set`,
    );
  }
  return type;
}
