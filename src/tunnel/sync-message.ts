import { decodeControlMap, malformed } from './control-map.ts';
import { parseErrorCode } from './errors.ts';
import { FrameType } from './frame.ts';
import { encodeMessage, type Failure } from './message.ts';
import { cut } from './message-fields.ts';

/** SYNC, both ends of a session on a new link: what each has. */
export interface Sync {
  readonly streams: readonly SyncStream[];
  /** Streams that ended badly, whose RESET may have been lost. */
  readonly failures: readonly (Failure & { readonly stream: number })[];
  /** No more SYNC follows. */
  readonly last: boolean;
  /**
   * The agent has the session on another link by now: this one is left, and nothing else in the
   * message counts.
   */
  readonly moved: boolean;
}

/** A failure in SYNC has a message of at most this many characters. */
export const maxSyncMessageLength = 128;

export interface SyncStream {
  readonly stream: number;
  /** Bytes received in order, a FIN counting as one. */
  readonly received: number;
  /** How far the other end may send. */
  readonly limit: number;
}

export function encodeSync(sync: Sync): Uint8Array {
  return encodeMessage({
    streams: sync.streams.map(({ stream, received, limit }) => [stream, received, limit]),
    failures: sync.failures.map(({ stream, code, message }) => [stream, code, message]),
    last: sync.last,
    ...(sync.moved ? { moved: true } : {}),
  });
}

export function decodeSync(payload: Uint8Array): Sync {
  const type = FrameType.sync;
  const fields = decodeControlMap(type, payload);
  const streams = fields.get('streams');
  const failures = fields.get('failures');
  if (!Array.isArray(streams) || !Array.isArray(failures)) throw malformed(type, 'has no lists');
  return {
    streams: streams.map((row: unknown) => {
      if (!Array.isArray(row) || !row.every(Number.isSafeInteger) || row.length < 3) {
        throw malformed(type, 'has a stream that is not three whole numbers');
      }
      const [stream, received, limit] = row as [number, number, number];
      return { stream, received, limit };
    }),
    failures: failures.map((row: unknown) => {
      if (!Array.isArray(row) || !Number.isSafeInteger(row[0]) || typeof row[2] !== 'string') {
        throw malformed(type, 'has a failure without number and sentence');
      }
      return {
        stream: row[0] as number,
        code: parseErrorCode(row[1], 'internal'),
        message: cut(row[2], maxSyncMessageLength),
      };
    }),
    last: fields.get('last') === true,
    moved: fields.get('moved') === true,
  };
}
