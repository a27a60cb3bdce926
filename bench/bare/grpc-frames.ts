import {
  defaultMaxFrameBytes,
  FrameType,
  writeFrameHeader,
  writeUint32,
} from '../../src/http2/frame.ts';
import type { ByteSink } from '../../src/base/net/byte-sink.ts';
import { dataHeaderMaxBytes, writeDataHeader } from '../../src/konnectivity/packet.ts';

/** The number of the first stream of a client. */
export const callId = 1;
/** The number of the only connection. */
export const connectId = 1;

/** `:status: 200` and `content-type: application/grpc` in HPACK. */
export const responseFields = Buffer.from([0x88, 0x5f, 0x10, ...Buffer.from('application/grpc')]);
/** `grpc-status: 0` in HPACK. */
export const trailerFields = Buffer.from([
  ...[0x00, 0x0b, ...Buffer.from('grpc-status')],
  ...[0x01, 0x30],
]);
/**
 * The answer to a dial, with gRPC's prefix.
 *
 * @param random the dial's field of that name, as it came
 */
export function dialResponse(random: Uint8Array): Buffer {
  const answer = Buffer.from([0x10, connectId, 0x18, ...random]);
  const packet = Buffer.from([0x08, 0x01, 0x1a, answer.length, ...answer]);
  return Buffer.from([0, 0, 0, 0, packet.length, ...packet]);
}

/** The number at the end of a DIAL_REQ, which holds protocol, address and random number. */
export function randomOf(packet: Uint8Array): Uint8Array {
  const protocolEnd = 4 + packet[3]!;
  const addressEnd = protocolEnd + 2 + packet[protocolEnd + 1]!;
  return packet.slice(addressEnd + 1);
}

const dataHeader = new Uint8Array(dataHeaderMaxBytes);

/**
 * Writes a DATA packet with `bytes[start..end)` as frames of the greatest size.
 *
 * @returns the bytes that count against the windows
 */
export function writeDataPacket(
  sink: ByteSink,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const payloadEnd = dataHeaderMaxBytes + end - start;
  const headerStart = writeDataHeader(dataHeader, dataHeaderMaxBytes, payloadEnd, connectId);
  let headerBytes = dataHeaderMaxBytes - headerStart;
  const messageBytes = headerBytes + end - start;
  for (let at = start; at < end;) {
    const frameBytes = Math.min(headerBytes + end - at, defaultMaxFrameBytes);
    writeFrameHeader(sink, frameBytes, FrameType.data, 0, callId);
    if (headerBytes > 0) sink.copy(dataHeader, headerStart, dataHeaderMaxBytes);
    const pieceEnd = at + frameBytes - headerBytes;
    sink.copy(bytes, at, pieceEnd);
    headerBytes = 0;
    at = pieceEnd;
  }
  return messageBytes;
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

/** Writes a frame of HTTP/2. */
export function writeFrame(
  sink: ByteSink,
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = new Uint8Array(),
): void {
  writeFrameHeader(sink, payload.length, type, flags, streamId);
  sink.copy(payload, 0, payload.length);
}

/** Lets the client send so much more; 0 is its connection. */
export function writeWindowUpdate(sink: ByteSink, streamId: number, bytes: number): void {
  const payload = new Uint8Array(4);
  writeUint32(payload, 0, bytes);
  writeFrame(sink, FrameType.windowUpdate, 0, streamId, payload);
}
