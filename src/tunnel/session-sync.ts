import { TunnelError } from './errors.ts';
import type { Failure } from './message.ts';
import type { Stream } from './stream.ts';
import { encodeSync, maxSyncMessageLength, type Sync, type SyncStream } from './sync-message.ts';

/** How many sent RESETs are remembered: the last ones may have got lost with a link. */
const maxRememberedEndings = 256;

/** Rows in one SYNC frame, which stay far below `maxControlBytes`: a stream is up to 24 bytes, a failure up to 420. */
const streamsPerFrame = 1000;
const failuresPerFrame = 100;

/** What the other end has, once it has told all. */
export interface TheirStreams {
  readonly streams: ReadonlyMap<number, SyncStream>;
  readonly failures: ReadonlyMap<number, Failure>;
}

/** An other end that is new: it has heard of no stream. */
export const noStreams: TheirStreams = { streams: new Map(), failures: new Map() };

/** The frame that takes leave of a link: the session goes on over another. */
export const movedSync: Uint8Array = encodeSync({
  streams: [],
  failures: [],
  last: true,
  moved: true,
});

/**
 * What the two ends of a session tell each other on a new link before anything else goes out: the state of each stream, and how
 * streams ended whose RESET the other end may never have got (docs/protocol.md, "Resume").
 */
export class SessionSync {
  readonly #maxStreams: number;
  readonly #endings = new Map<number, Failure>();
  /** What the other end has told so far; undefined while both ends are in step. */
  #told: { streams: Map<number, SyncStream>; failures: Map<number, Failure> } | undefined;

  constructor(maxStreams: number) {
    this.#maxStreams = maxStreams;
  }

  /** RESET or REFUSED went out on the present link. */
  sentEnding(stream: number, { code, message }: Failure): void {
    this.#endings.set(stream, { code, message: message.slice(0, maxSyncMessageLength) });
    if (this.#endings.size <= maxRememberedEndings) return;
    const [oldest] = this.#endings.keys();
    this.#endings.delete(oldest!);
  }

  /**
   * The session is on a new link. Returns the payloads of the SYNC frames to send.
   *
   * @param unsent streams that have ended while there was no link to say so
   */
  begin(streams: Iterable<Stream>, unsent: Iterable<Stream>): Uint8Array[] {
    this.#told = { streams: new Map(), failures: new Map() };
    const failures = new Map(this.#endings);
    for (const { number, failure } of unsent) failures.set(number, failure!);
    return syncFrames(
      Array.from(streams)
        .filter(({ announced }) => announced)
        .map(({ number, receiving, finReceived }) => ({
          stream: number,
          received: receiving.received + (finReceived ? 1 : 0),
          limit: receiving.limit,
        })),
      Array.from(failures, ([stream, { code, message }]) => ({
        stream,
        code,
        message: message.slice(0, maxSyncMessageLength),
      })),
    );
  }

  /** The link is gone: what the other end began to tell does not count. */
  abandon(): void {
    this.#told = undefined;
  }

  /**
   * SYNC arrived. Returns what the other end has, with the last of its frames.
   *
   * @throws TunnelError `protocol_error` for one that is malformed, not expected, or endless
   */
  receive({ streams, failures, last }: Sync): TheirStreams | undefined {
    const told = this.#told;
    if (told === undefined) {
      throw new TunnelError('protocol_error', 'SYNC on a link that is in step');
    }
    for (const row of streams) told.streams.set(row.stream, row);
    for (const failure of failures) told.failures.set(failure.stream, failure);
    this.#bound(told.streams.size, this.#maxStreams, 'streams');
    this.#bound(told.failures.size, this.#maxStreams + maxRememberedEndings, 'failures');
    if (!last) return undefined;
    this.#told = undefined;
    return told;
  }

  #bound(size: number, max: number, what: string): void {
    if (size <= max) return;
    throw new TunnelError('protocol_error', `SYNC names ${size} ${what}, at most ${max} can be`);
  }
}

/**
 * Makes a stream go on from what the other end has of it, or ends it. Returns how many bytes go out again.
 *
 * @throws TunnelError `protocol_error` where the other end cannot have what it says
 */
export function reconcile(stream: Stream, theirs: TheirStreams, maxKeptBytes: number): number {
  const failure = theirs.failures.get(stream.number);
  if (failure !== undefined) {
    stream.fail(new TunnelError(failure.code, failure.message));
    return 0;
  }
  const row = theirs.streams.get(stream.number);
  if (row !== undefined) return stream.resync(row.received, row.limit, maxKeptBytes);
  if (!stream.announced) return 0;
  if (stream.openRequest !== undefined && !stream.accepted) {
    stream.reopen();
  } else if (stream.finReceived && stream.finSent) {
    // An end forgets a stream when both directions are complete there: only its last acknowledgement got lost.
    stream.fail(undefined);
  } else {
    stream.fail(new TunnelError('link_lost', 'the other end no longer has the stream'));
  }
  return 0;
}

function syncFrames(streams: Sync['streams'], failures: Sync['failures']): Uint8Array[] {
  const frames: Uint8Array[] = [];
  let [stream, failure] = [0, 0];
  do {
    const rows = streams.slice(stream, stream + streamsPerFrame);
    const ends = failures.slice(failure, failure + failuresPerFrame);
    stream += rows.length;
    failure += ends.length;
    const last = stream === streams.length && failure === failures.length;
    frames.push(encodeSync({ streams: rows, failures: ends, last, moved: false }));
  } while (stream < streams.length || failure < failures.length);
  return frames;
}
