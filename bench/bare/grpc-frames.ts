// Frame types of HTTP/2 (RFC 9113, section 6).
export const dataFrame = 0;
export const headersFrame = 1;
export const settingsFrame = 4;
export const pingFrame = 6;
export const windowUpdateFrame = 8;
export const ackFlag = 1;
export const endStreamFlag = 1;
export const endHeadersFlag = 4;

export const prefaceBytes = 24;
export const frameHeadBytes = 9;
export const maxFrameBytes = 16 * 1024;
/** The windows of a connection and its streams before the first SETTINGS and WINDOW_UPDATE. */
export const firstWindowBytes = 65_535;
export const grpcPrefixBytes = 5;

/** `:status: 200` and `content-type: application/grpc` in HPACK. */
export const responseFields = Buffer.from([0x88, 0x5f, 0x10, ...Buffer.from('application/grpc')]);
/** `grpc-status: 0` in HPACK. */
export const trailerFields = Buffer.from([
  ...[0x00, 0x0b, ...Buffer.from('grpc-status')],
  ...[0x01, 0x30],
]);
/** The answer to the close of connection 1. */
export const closeResponse = Buffer.from([0x08, 0x03, 0x32, 0x02, 0x10, 0x01]);

/** The answer to a dial: the connection's number is 1. @param random the dial's field of that name */
export function dialResponse(random: Uint8Array): Buffer {
  const answer = Buffer.from([0x10, 0x01, 0x18, ...random]);
  return Buffer.from([0x08, 0x01, 0x1a, answer.length, ...answer]);
}

/** The number at the end of a DIAL_REQ, which holds protocol, address and random number. */
export function randomOf(packet: Uint8Array): Uint8Array {
  const protocolEnd = 4 + packet[3]!;
  const addressEnd = protocolEnd + 2 + packet[protocolEnd + 1]!;
  return packet.slice(addressEnd + 1);
}

/** A DATA packet of connection 1 begins with these fields. All of its lengths have three bytes. */
export const dataHeadBytes = grpcPrefixBytes + 12;

/** Writes the prefix of a gRPC message and the head of a DATA packet with `length` bytes. */
export function writeDataHead(into: Uint8Array, at: number, length: number): void {
  const packetBytes = dataHeadBytes - grpcPrefixBytes + length;
  into[at] = 0;
  into[at + 1] = packetBytes >>> 24;
  into[at + 2] = packetBytes >>> 16;
  into[at + 3] = packetBytes >>> 8;
  into[at + 4] = packetBytes;
  into[at + 5] = 0x08;
  into[at + 6] = 0x04;
  into[at + 7] = 0x22;
  writeLength(into, at + 8, 6 + length);
  into[at + 11] = 0x08;
  into[at + 12] = 0x01;
  into[at + 13] = 0x1a;
  writeLength(into, at + 14, length);
}

/** A varint of three bytes. */
function writeLength(into: Uint8Array, at: number, length: number): void {
  into[at] = 0x80 | (length & 0x7f);
  into[at + 1] = 0x80 | ((length >>> 7) & 0x7f);
  into[at + 2] = length >>> 14;
}

/** Where the bytes of a DATA packet begin; 0: the head is not complete. */
export function dataStart(head: Uint8Array, length: number): number {
  // The fields type and data, then those of data: connectID and the bytes.
  const inner = skipVarint(head, 3, length);
  const connectEnd = skipVarint(head, inner + 1, length);
  const end = skipVarint(head, connectEnd + 1, length);
  return end <= length ? end : 0;
}

/** The end of a varint; more than `length` if it is not complete. */
function skipVarint(bytes: Uint8Array, start: number, length: number): number {
  let at = start;
  while (at < length && bytes[at]! >= 0x80) at++;
  return at + 1;
}

export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  writeFrameHead(head, 0, { type, flags, streamId, length: payload.length });
  return Buffer.concat([head, payload]);
}

export interface FrameHead {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly length: number;
}

export function writeFrameHead(into: Uint8Array, at: number, head: FrameHead): void {
  into[at] = head.length >>> 16;
  into[at + 1] = head.length >>> 8;
  into[at + 2] = head.length;
  into[at + 3] = head.type;
  into[at + 4] = head.flags;
  into[at + 5] = head.streamId >>> 24;
  into[at + 6] = head.streamId >>> 16;
  into[at + 7] = head.streamId >>> 8;
  into[at + 8] = head.streamId;
}
