import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from './errors.ts';
import { FrameType } from './frame.ts';
import { encodeFailure } from './message.ts';
import { decodeOpen, type Open } from './open-message.ts';
import type { PeerGrants } from './peer-grants.ts';
import type { SendScheduler } from './send-scheduler.ts';
import type { SessionSync } from './session-sync.ts';
import type { Stream } from './stream.ts';
import type { StreamHandler } from './stream-handler.ts';
import type { StreamRequest } from './stream-request.ts';
import type { StreamTable } from './stream-table.ts';

/** Adds a stream to the session. */
export type MakeStream = (number: number, handler: (stream: Stream) => StreamHandler) => Stream;

export interface StreamAcceptorOptions {
  readonly accept: (request: StreamRequest, stream: Stream) => StreamHandler;
  readonly log: Logger;
  readonly maxStreams: number;
  readonly streams: StreamTable;
  readonly scheduler: SendScheduler;
  readonly sync: SessionSync;
  readonly grants: PeerGrants;
  readonly make: MakeStream;
}

/** The acceptor's side of OPEN: makes the stream, or refuses it. */
export class StreamAcceptor {
  readonly #options: StreamAcceptorOptions;

  constructor(options: StreamAcceptorOptions) {
    this.#options = options;
  }

  /** @throws TunnelError `protocol_error` for a malformed OPEN, or a number that was used before */
  onOpen(number: number, payload: Uint8Array): void {
    const { accept, maxStreams, streams, scheduler, grants, make } = this.#options;
    if (streams.isUsed(number)) {
      // An OPEN that is repeated for a live stream changes nothing; a used number never comes back.
      if (streams.get(number) !== undefined) return;
      throw new TunnelError('protocol_error', `stream number ${number} has been used before`);
    }
    streams.use(number);
    const open = this.#decode(number, payload);
    if (open === undefined) return;
    // Ended streams whose end the other end has not read count as well, although they are no longer
    // in the table.
    if (Math.max(streams.size, scheduler.pendingStreams) >= maxStreams) {
      const sentence = `the session has ${maxStreams} streams open, its limit`;
      return this.#refuse(number, new TunnelError('stream_limit', sentence));
    }
    make(number, (stream) => {
      stream.sending.share = open.share;
      stream.openArrived(open, grants.maxKeptBytes(stream));
      grants.update(stream);
      return accept(open, stream);
    });
  }

  /**
   * Undefined: the target is of a kind that only a later version knows, and the stream was refused.
   */
  #decode(number: number, payload: Uint8Array): Open | undefined {
    try {
      return decodeOpen(payload);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      if (error.code !== 'unsupported_target') throw error;
      this.#options.log.warn('stream refused', { stream: number, code: error.code });
      this.#refuse(number, error);
      return undefined;
    }
  }

  #refuse(number: number, error: TunnelError): void {
    const { scheduler, sync } = this.#options;
    sync.sentEnding(number, error);
    scheduler.reply(FrameType.refused, number, encodeFailure(error));
  }
}
