import type { BusyWindows } from './busy-windows.ts';
import type { Http2ConnectionOwner } from './connection-owner.ts';
import type { ReceivedHeaders } from './frame-receiver.ts';
import { Http2Error, type Http2ErrorCode } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import type { PeerSettings } from './peer-settings.ts';
import type { RateLimit } from './rate-limit.ts';
import { parseRequestHead } from './request-head.ts';
import { Http2ServerStream } from './server-stream.ts';
import { StreamReceiver } from './stream-receiver.ts';
import type { StreamSender } from './stream-sender.ts';
import type { StreamTable } from './stream-table.ts';

export interface StreamAcceptorOptions {
  readonly owner: Http2ConnectionOwner;
  readonly limits: Http2Limits;
  readonly allowsExtendedConnect?: boolean;
  readonly settings: PeerSettings;
  readonly sender: StreamSender;
  readonly streams: StreamTable;
  /** A refused stream costs us as much as one that the client resets. */
  readonly resets: RateLimit;
  readonly busyWindows?: BusyWindows;
}

/** Makes streams of the heads that a client sends, or refuses them. */
export class StreamAcceptor {
  readonly #options: StreamAcceptorOptions;
  #refusedStreams = 0;

  constructor(options: StreamAcceptorOptions) {
    this.#options = options;
  }

  /**
   * Gives a request to the owner. Returns undefined when the stream was reset.
   *
   * @throws Http2Error too many streams were refused
   */
  accept({ streamId, isEndOfStream, fields, problem }: ReceivedHeaders) {
    const { owner, limits, settings, sender, streams } = this.#options;
    const { allowsExtendedConnect = false, busyWindows } = this.#options;
    if (streams.size >= limits.maxStreams || sender.unsentBytes > limits.maxUnsentBytes) {
      return this.#refuse(streamId, 'REFUSED_STREAM');
    }
    if (problem !== undefined) return this.#refuse(streamId, problem);
    const head = parseRequestHead(fields, allowsExtendedConnect);
    if (head === undefined) return this.#refuse(streamId, 'PROTOCOL_ERROR');
    const { contentLength } = head;
    const receiver = new StreamReceiver(limits.windowBytes, contentLength, busyWindows);
    if (isEndOfStream && !receiver.isComplete) return this.#refuse(streamId, 'PROTOCOL_ERROR');
    const stream = new Http2ServerStream(sender, streamId, receiver, settings.initialWindowBytes);
    // Known before the owner answers, so that no RST_STREAM follows a complete answer.
    stream.isRemoteEnded = isEndOfStream;
    streams.add(stream);
    const handler = owner.onRequest(stream, head);
    if (handler !== undefined) stream.handle(handler);
    return stream;
  }

  #refuse(streamId: number, code: Http2ErrorCode): undefined {
    const { limits, resets, sender } = this.#options;
    resets.count();
    if (code !== 'PROTOCOL_ERROR' && ++this.#refusedStreams > limits.maxRefusedStreams) {
      const message = `more than ${limits.maxRefusedStreams} streams were refused`;
      throw new Http2Error('ENHANCE_YOUR_CALM', message);
    }
    sender.writeReset(streamId, code);
  }
}
