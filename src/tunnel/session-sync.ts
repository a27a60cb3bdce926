import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from './errors.ts';
import { FrameType } from './frame.ts';
import type { Failure } from './message.ts';
import type { PeerGrants } from './peer-grants.ts';
import type { SendScheduler } from './send-scheduler.ts';
import type { Stream } from './stream.ts';
import { resetForBreach } from './stream-frame.ts';
import type { StreamTable } from './stream-table.ts';
import {
  decodeSync,
  encodeSync,
  maxSyncMessageLength,
  type Sync,
  type SyncStream,
} from './sync-message.ts';

/** How many sent RESETs are remembered, because the last ones may be lost with a link. */
const maxRememberedEndings = 256;

/**
 * Rows in one SYNC frame, which stay far below `maxControlBytes`: a stream is up to 24 bytes, a
 * failure up to 420.
 */
const streamsPerFrame = 1000;
const failuresPerFrame = 100;

/** What the other end has, as its SYNC frames report it. */
interface PeerState {
  readonly streams: Map<number, SyncStream>;
  readonly failures: Map<number, Failure>;
}

/** The last frame on a link: it says that the session continues on another link. */
export const movedSync: Uint8Array = encodeSync({
  streams: [],
  failures: [],
  last: true,
  moved: true,
});

export interface SessionSyncOptions {
  readonly maxStreams: number;
  readonly streams: StreamTable;
  readonly scheduler: SendScheduler;
  readonly grants: PeerGrants;
  readonly log: Logger;
}

/**
 * What the two ends of a session tell each other on a new link before they send anything else: the
 * state of each stream, and how streams ended whose RESET may have been lost (docs/protocol.md,
 * "Resume").
 */
export class SessionSync {
  readonly #options: SessionSyncOptions;
  readonly #endings = new Map<number, Failure>();
  /** What the other end has reported so far; undefined once both ends agree. */
  #peer: PeerState | undefined;

  constructor(options: SessionSyncOptions) {
    this.#options = options;
  }

  /** RESET or REFUSED was sent on the present link. */
  sentEnding(stream: number, { code, message }: Failure): void {
    this.#endings.set(stream, { code, message: message.slice(0, maxSyncMessageLength) });
    if (this.#endings.size <= maxRememberedEndings) return;
    const [oldest] = this.#endings.keys();
    this.#endings.delete(oldest!);
  }

  /** The session is on a link to an end that is new to it and knows no stream. */
  startFresh(): void {
    this.#reconcile({ streams: new Map(), failures: new Map() });
  }

  /** The session is on a new link to the end that it had before: reports what this end has. */
  begin(): void {
    const { streams, scheduler } = this.#options;
    this.#peer = { streams: new Map(), failures: new Map() };
    const failures = new Map(this.#endings);
    // Streams that ended while there was no link for their RESET.
    for (const { number, failure } of scheduler.unsentEndings) failures.set(number, failure!);
    const frames = syncFrames(
      Array.from(streams)
        .filter(({ isAnnounced }) => isAnnounced)
        .map(({ number, receiving: { receivedOffset, limit } }) => {
          return { stream: number, received: receivedOffset, limit };
        }),
      Array.from(failures, ([stream, { code, message }]) => ({
        stream,
        code,
        message: message.slice(0, maxSyncMessageLength),
      })),
    );
    for (const payload of frames) scheduler.reply(FrameType.sync, 0, payload);
  }

  /** The link is gone, and with it what the other end has reported so far. */
  abandon(): void {
    this.#peer = undefined;
  }

  /**
   * SYNC arrived. With the last of its frames, the streams continue.
   *
   * @returns how many bytes are sent again; undefined when more frames follow; `moved` when the
   *   session is on another link
   * @throws TunnelError `protocol_error` for a frame that is malformed, not expected, or one too
   *   many
   */
  onSync(payload: Uint8Array): number | 'moved' | undefined {
    const sync = decodeSync(payload);
    if (sync.moved) return 'moved';
    const peer = this.#peer;
    if (peer === undefined) {
      throw new TunnelError('protocol_error', 'SYNC on a link that is in step');
    }
    for (const row of sync.streams) peer.streams.set(row.stream, row);
    for (const failure of sync.failures) peer.failures.set(failure.stream, failure);
    const { maxStreams } = this.#options;
    checkCount(peer.streams.size, maxStreams, 'streams');
    checkCount(peer.failures.size, maxStreams + maxRememberedEndings, 'failures');
    if (!sync.last) return undefined;
    this.#peer = undefined;
    return this.#reconcile(peer);
  }

  #reconcile(peer: PeerState): number {
    const { streams, scheduler, grants, log } = this.#options;
    let resentBytes = 0;
    for (const stream of streams) {
      try {
        resentBytes += reconcile(stream, peer, grants.maxKeptBytes(stream));
        grants.update(stream);
      } catch (thrown) {
        resetForBreach(stream, TunnelError.from(thrown), log);
      }
    }
    scheduler.resume();
    return resentBytes;
  }
}

function checkCount(count: number, max: number, what: string): void {
  if (count <= max) return;
  throw new TunnelError('protocol_error', `SYNC names ${count} ${what}, at most ${max} can be`);
}

/**
 * Continues a stream from what the other end has of it, or ends the stream. Returns how many bytes
 * are sent again.
 *
 * @throws TunnelError `protocol_error` if the other end cannot have what it reports
 */
function reconcile(stream: Stream, peer: PeerState, maxKeptBytes: number): number {
  const failure = peer.failures.get(stream.number);
  if (failure !== undefined) {
    stream.fail(new TunnelError(failure.code, failure.message));
    return 0;
  }
  const row = peer.streams.get(stream.number);
  if (row !== undefined) return stream.resync(row.received, row.limit, maxKeptBytes);
  if (!stream.isAnnounced) return 0;
  if (stream.role === 'opener' && !stream.isAccepted) {
    // OPEN may have been lost with the old link.
    stream.open(stream.request!);
  } else if (stream.receiving.hasFin && stream.sending.hasSentFin) {
    // An end forgets a stream when both directions are complete there. Only its last
    // acknowledgement was lost.
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
