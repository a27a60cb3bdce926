import type { Socket } from 'node:net';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { Clock, Timer } from '../../base/clock.ts';
import { exchangeLimits } from '../../http-exchange/exchange-limits.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { responseLimits } from '../../http1/response-parser.ts';

export const http2Limits = {
  /** Requests at the same time. The server's SETTINGS can allow less. */
  maxStreams: 100,
  /** How long a connection without requests is kept, in milliseconds. */
  idleMs: 60_000,
  /** How long the server may take to close a connection that is over, in milliseconds. */
  closeTimeoutMs: 5_000,
  /** How long the server may take to send its SETTINGS, in milliseconds. */
  settingsTimeoutMs: 10_000,
  /** A PING is sent after so many milliseconds without a frame, as by client-go. */
  pingAfterMs: 30_000,
  /** How long the answer to a PING may take, in milliseconds, as in client-go. */
  pingTimeoutMs: 15_000,
  /**
   * How long a cancelled request keeps its place, in milliseconds. The server may still be at work
   * on it, and ends the connection of a client that cancels too many requests.
   */
  cancelledMs: 1_000,
  /** What the server may send for a request whose reader has stopped. */
  streamWindowBytes: 128 * 1024,
  /** More than all streams of stopped readers together, so that they do not stop others. */
  connectionWindowBytes: 32 * 1024 * 1024,
} as const;

export interface Http2ConnectionOptions {
  /** A TLS connection that negotiated HTTP/2. */
  readonly socket: Socket;
  /** Names the server in errors. */
  readonly host: string;
  readonly clock: Clock;
  /** The connection takes no further requests. Called once. */
  readonly onRetired: (connection: Http2Connection) => void;
}

/** A connection of HTTP/2 to a server, for many requests at the same time. */
export class Http2Connection {
  readonly #options: Http2ConnectionOptions;
  readonly #session: ClientHttp2Session;
  readonly #ready = Promise.withResolvers<void>();
  #settingsTimer: Timer | undefined;
  #idleTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  #maxStreams = 0;
  #streams = 0;
  #readAtMs: number;
  /** The requests behind this one have not been processed by the server. */
  #lastStreamId = Infinity;
  #isRetired = false;
  #failure: Error | undefined;

  constructor(options: Http2ConnectionOptions) {
    this.#options = options;
    const { socket, clock } = options;
    this.#readAtMs = clock.now();
    this.#session = connect('https://server', {
      createConnection: () => socket,
      maxHeaderListPairs: exchangeLimits.maxFields,
      // In megabytes.
      maxSessionMemory: 64,
      settings: {
        enablePush: false,
        initialWindowSize: http2Limits.streamWindowBytes,
        maxHeaderListSize: responseLimits.maxHeadBytes,
      },
      // The fields are the caller's, and the server judges them.
      strictSingleValueFields: false,
    } as Parameters<typeof connect>[1]);
    // Otherwise the socket stays half-open, which has no use in HTTP/2.
    socket.on('end', () => socket.destroy()).on('error', (error) => (this.#failure ??= error));
    this.#session
      .on('remoteSettings', ({ maxConcurrentStreams }) => this.#onSettings(maxConcurrentStreams))
      .on('goaway', (_code, lastStreamId) => this.#onGoAway(lastStreamId))
      .on('error', (error) => (this.#failure ??= error))
      .on('close', () => this.#onClose());
    this.#settingsTimer = clock.setTimer(http2Limits.settingsTimeoutMs, () =>
      this.destroy(settingsTimeout(options.host)),
    );
  }

  /**
   * Resolves when requests can be sent.
   *
   * @throws TunnelError `timeout` the server sends no SETTINGS
   * @throws Error the connection has ended
   */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Why the connection has failed; undefined: it has not, or the server has closed it. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** It takes no further requests. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  get isClosed(): boolean {
    return this.#session.destroyed;
  }

  /** Takes a place for a request, which `release` gives back. False: there is none. */
  reserve(): boolean {
    // A session can be over before its 'close' event, which waits for the socket.
    const isOver = this.#isRetired || this.#session.destroyed || this.#session.closed;
    if (isOver || this.#streams >= this.#maxStreams) return false;
    this.#streams++;
    this.#idleTimer?.cancel();
    return true;
  }

  release(): void {
    if (--this.#streams === 0) this.#becomeIdle();
  }

  /** Gives the place of a cancelled request back, after a moment. */
  releaseLater(): void {
    this.#options.clock.setTimer(http2Limits.cancelledMs, () => this.release());
  }

  /**
   * Sends a request.
   *
   * @param fields names and values in turn
   * @throws Error the fields are not valid
   */
  request(fields: readonly string[]): ClientHttp2Stream {
    return this.#session.request(fields, { endStream: true });
  }

  /** Bytes have arrived, so the connection is not dead. */
  noteRead(): void {
    this.#readAtMs = this.#options.clock.now();
  }

  /** Whether the server has said that it never began with a request. */
  isUnprocessed({ id, rstCode }: ClientHttp2Stream): boolean {
    if (rstCode === constants.NGHTTP2_REFUSED_STREAM) return true;
    return id === undefined || id > this.#lastStreamId;
  }

  /** Takes no further requests, and closes after the last of the present ones. Idempotent. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#options.onRetired(this);
    this.#session.close();
    this.#idleTimer?.cancel();
    if (this.#streams === 0) this.#becomeIdle();
  }

  /** Ends the connection and all its requests. Idempotent. */
  destroy(error?: Error): void {
    this.#failure ??= error;
    // The 'close' event of each stream reports the failure.
    this.#session.destroy();
    this.#options.socket.destroy();
  }

  #onSettings(maxConcurrentStreams: number | undefined): void {
    this.noteRead();
    this.#maxStreams = Math.min(http2Limits.maxStreams, maxConcurrentStreams ?? Infinity);
    if (this.#settingsTimer === undefined) return;
    this.#settingsTimer.cancel();
    this.#settingsTimer = undefined;
    this.#session.setLocalWindowSize(http2Limits.connectionWindowBytes);
    this.#expectFrames();
    this.#becomeIdle();
    this.#ready.resolve();
  }

  #becomeIdle(): void {
    const { clock } = this.#options;
    const { idleMs, closeTimeoutMs } = http2Limits;
    this.#idleTimer = this.#isRetired
      ? clock.setTimer(closeTimeoutMs, () => this.destroy())
      : clock.setTimer(idleMs, () => this.retire());
  }

  #onGoAway(lastStreamId: number | undefined): void {
    this.#lastStreamId = lastStreamId ?? Infinity;
    this.retire();
  }

  #onClose(): void {
    this.#settingsTimer?.cancel();
    this.#idleTimer?.cancel();
    this.#pingTimer?.cancel();
    if (!this.#isRetired) {
      this.#isRetired = true;
      this.#options.onRetired(this);
    }
    this.#ready.reject(this.#failure ?? new Error('the server closed the connection'));
  }

  #expectFrames(): void {
    this.#pingTimer = this.#options.clock.setTimer(http2Limits.pingAfterMs, this.#onQuiet);
  }

  readonly #onQuiet = (): void => {
    const { clock } = this.#options;
    const leftMs = this.#readAtMs + http2Limits.pingAfterMs - clock.now();
    if (leftMs > 0) this.#pingTimer = clock.setTimer(leftMs, this.#onQuiet);
    else if (!this.#session.destroyed) this.#ping();
  };

  #ping(): void {
    const { clock } = this.#options;
    const sentAtMs = clock.now();
    this.#pingTimer = clock.setTimer(http2Limits.pingTimeoutMs, () => {
      // The answer can be behind much data on a slow network.
      if (this.#readAtMs > sentAtMs) this.#expectFrames();
      else this.destroy(new Error('it does not answer a PING'));
    });
    const onAnswer = (error: Error | null): void => {
      if (error !== null || this.#session.destroyed) return;
      this.noteRead();
      this.#pingTimer?.cancel();
      this.#expectFrames();
    };
    // node:http2 sends no PING after a GOAWAY. A server answers SETTINGS as well.
    if (this.#session.closed) this.#session.settings({}, onAnswer);
    else this.#session.ping(onAnswer);
  }
}

function settingsTimeout(host: string): TunnelError {
  return new TunnelError('timeout', `${host} has not begun to speak HTTP/2 in time`);
}
