import type { Http2Error } from './http2-error.ts';
import type { RequestHead } from './request-head.ts';
import type { Http2ServerStream } from './server-stream.ts';
import type { Http2StreamHandler } from './stream-handler.ts';

/** The server that a connection belongs to. */
export interface Http2ConnectionOwner {
  /**
   * A request has arrived. The stream can be used at once. It does not keep the head, because a
   * request may last for hours.
   *
   * @returns undefined when the owner has answered it completely
   */
  onRequest(stream: Http2ServerStream, head: RequestHead): Http2StreamHandler | undefined;
  /** The client has sent its first SETTINGS. */
  onReady(): void;
  /** Bytes have left the process while more are queued. */
  onProgress(): void;
  /**
   * The client broke a rule or a limit of the connection. GOAWAY was written. The owner sends it,
   * and then closes the socket.
   */
  onFailed(error: Http2Error): void;
  /** After `shutdown`: the last stream has ended. The owner closes the socket after all output. */
  onStreamsEnded(): void;
}
