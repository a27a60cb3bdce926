import { TunnelError } from '../tunnel/errors.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';
import { exchangeLimits } from './exchange-limits.ts';

/** docs/protocol.md, "HTTP exchanges": type u8, length u24, payload. */
export const RecordType = { head: 1, body: 2, trailers: 3, informational: 4 } as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

export const recordHeaderBytes = 4;

/** Streams copy what they are given, so one header serves all. */
const header = new Uint8Array(recordHeaderBytes);

/** Writes a record whose payload is complete. */
export function writeRecord(stream: TunnelStream, type: RecordType, payload: Uint8Array): boolean {
  writeHeader(stream, type, payload.length);
  return stream.write(payload);
}

/** Writes a piece of a body. */
export function writeBody(stream: TunnelStream, bytes: Uint8Array): boolean {
  const { maxBodyRecordBytes } = exchangeLimits;
  let isWanted = true;
  for (let at = 0; at < bytes.length; at += maxBodyRecordBytes) {
    const isWhole = bytes.length <= maxBodyRecordBytes;
    const piece = isWhole ? bytes : bytes.subarray(at, at + maxBodyRecordBytes);
    isWanted = writeRecord(stream, RecordType.body, piece);
  }
  return isWanted;
}

function writeHeader(stream: TunnelStream, type: RecordType, length: number): void {
  header[0] = type;
  header[1] = length >>> 16;
  header[2] = length >>> 8;
  header[3] = length;
  stream.write(header);
}

export function malformedRecord(problem: string): TunnelError {
  return new TunnelError('protocol_error', `the other end of an HTTP exchange ${problem}`);
}
