import { type ClientHttp2Stream, constants, sensitiveHeaders } from 'node:http2';
import { Readable } from 'node:stream';
import type { HeaderList, HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import type { ConnectionUser } from './connection-user.ts';
import type { Http2Connection } from './http2-connection.ts';
import { NotProcessedError } from './not-processed-error.ts';
import type { RequestCarrier } from './request-carrier.ts';
import { type RequestText, sentFields } from './request-text.ts';
import { ResponseError } from './response-error.ts';
import { responseLimits } from '../../http1/response-parser.ts';

/** Fields that HPACK must not keep in its table, because all callers share the connection. */
const secretFields = ['authorization', 'cookie', 'impersonate-user', 'impersonate-group'];

const owner = Symbol('owner');

/** The request of a stream. Its listeners find it here, so that they are the same for all streams. */
interface OwnedStream extends ClientHttp2Stream {
  [owner]?: Http2Request;
}

type State = 'waiting' | 'head' | 'body' | 'complete' | 'over';

/** A request without a body, on a stream of an HTTP/2 connection. */
export class Http2Request implements RequestCarrier {
  readonly #connection: Http2Connection;
  readonly #head: HttpRequestHead;
  readonly #authorization: string | undefined;
  #user: ConnectionUser | undefined;
  #stream: OwnedStream | undefined;
  #state: State = 'waiting';
  #informationalCount = 0;
  #hasAnswer = false;
  #isEndReceived = false;
  #isCancelled = false;
  #error: Error | undefined;

  /**
   * @param connection has a reserved place for the request
   * @param authorization replaces the caller's credentials
   */
  constructor(
    connection: Http2Connection,
    head: HttpRequestHead,
    authorization: string | undefined,
  ) {
    this.#connection = connection;
    this.#head = head;
    this.#authorization = authorization;
  }

  send({ host, method }: RequestText, user: ConnectionUser): void {
    const { path, headers } = this.#head;
    const fields = [':method', method, ':scheme', 'https', ':authority', host, ':path', path];
    for (const [name, value] of sentFields(headers, this.#authorization)) {
      fields.push(name.toLowerCase(), value);
    }
    this.#user = user;
    this.#state = 'head';
    let stream: OwnedStream;
    try {
      stream = this.#connection.request(
        Object.assign(fields, { [sensitiveHeaders]: secretFields }),
      );
    } catch (thrown) {
      // The user does not expect the failure inside of `send`.
      this.#error = thrown as Error;
      queueMicrotask(() => this.onClosed());
      return;
    }
    this.#stream = stream;
    stream[owner] = this;
    stream.push = pushObserved;
    stream.on('error', onError).on('close', onClose).on('end', onEnd).on('data', onData);
    stream.on('response', onResponse).on('headers', onInformational).on('trailers', onTrailers);
  }

  writeBody(): void {}

  endBody(): void {}

  resume(): void {
    this.#stream?.resume();
  }

  destroy(): void {
    if (this.#state === 'over') return;
    this.#user = undefined;
    if (this.#state === 'waiting') {
      this.#state = 'over';
      this.#connection.release();
    } else if (this.#stream?.closed === false) {
      this.#isCancelled = true;
      this.#stream.close(constants.NGHTTP2_CANCEL);
    }
  }

  /** @param fields names and values in turn */
  onInformational(fields: readonly string[]): void {
    this.#connection.noteRead();
    this.#hasAnswer = true;
    if (++this.#informationalCount > responseLimits.maxInformational) {
      return this.#refuse('it has too many informational heads');
    }
    const head = responseHead(fields);
    const isInformational = head.status >= 100 && head.status <= 199 && head.status !== 101;
    if (!isInformational) return this.#refuse('its status is wrong');
    this.#user?.onInformational(head);
  }

  onHead(fields: readonly string[]): void {
    this.#connection.noteRead();
    this.#hasAnswer = true;
    if (this.#state !== 'head') return this.#refuse('it has two heads');
    this.#state = 'body';
    const head = responseHead(fields);
    if (!(head.status >= 200 && head.status <= 999)) return this.#refuse('its status is wrong');
    this.#user?.onHead(head);
  }

  onBody(bytes: Uint8Array): void {
    this.#connection.noteRead();
    if (this.#error !== undefined) return;
    if (this.#user?.onBody(bytes) === false) this.#stream!.pause();
  }

  onTrailers(fields: readonly string[]): void {
    this.#user?.onResponseTrailers(responseHead(fields).headers);
  }

  /** The frame with END_STREAM has arrived. The reader may be behind. */
  onEndOfStream(): void {
    this.#isEndReceived = true;
  }

  /** All of the body has been passed on. */
  onRead(): void {
    if (this.#state !== 'body' || !this.#isEndReceived || this.#error !== undefined) return;
    // The user is still set, so that it learns of a failure of this call.
    this.#user?.onComplete();
    this.#user = undefined;
    this.#state = 'complete';
  }

  onError(error: Error): void {
    this.#error ??= error;
  }

  onClosed(): void {
    if (this.#state === 'over') return;
    const user = this.#user;
    this.#user = undefined;
    this.#state = 'over';
    const stream = this.#stream;
    const connection = this.#connection;
    if (stream?.rstCode === constants.NGHTTP2_REFUSED_STREAM) connection.retire();
    if (this.#isCancelled) connection.releaseLater();
    else connection.release();
    if (user === undefined) return;
    const isUnprocessed = stream !== undefined && connection.isUnprocessed(stream);
    const isUnanswered = !this.#hasAnswer && (isUnprocessed || connection.isClosed);
    const error = this.#error ?? connection.failure ?? new Error('the server ended it too early');
    user.onFailed(isUnprocessed ? new NotProcessedError(error.message) : error, isUnanswered);
  }

  /** Cuts the response, because of what the server has sent or because its user does not take it. */
  fail(error: Error): void {
    this.#error ??= error;
    this.#stream!.close(constants.NGHTTP2_PROTOCOL_ERROR);
  }

  #refuse(problem: string): void {
    this.fail(new ResponseError(problem));
  }
}

/** @param fields names and values in turn, with `:status`, which trailers do not have */
function responseHead(fields: readonly string[]): { status: number; headers: HeaderList } {
  let status = Number.NaN;
  const headers: [string, string][] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [name, value] = [fields[at]!, fields[at + 1]!];
    if (name === ':status') status = /^[1-9]\d\d$/.test(value) ? Number(value) : Number.NaN;
    else if (!name.startsWith(':')) headers.push([name, value.trim()]);
  }
  return { status, headers };
}

/**
 * Notices the end of the response. node:http2 ends the body in the same way after RST_STREAM with
 * NO_ERROR, which is not the end of a response, but the stream is closed then.
 */
function pushObserved(this: OwnedStream, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && !this.closed) this[owner]?.onEndOfStream();
  return Readable.prototype.push.call(this, chunk, encoding);
}

type Heard = 'onInformational' | 'onHead' | 'onTrailers';

/** Listens to heads. An error in a listener must not end the process. */
function listenerOf(heard: Heard) {
  return function (this: OwnedStream, _: object, _flags: number, raw: string[]): void {
    const request = this[owner]!;
    try {
      request[heard](raw);
    } catch (thrown) {
      request.fail(thrown as Error);
    }
  };
}

const onInformational = listenerOf('onInformational');
const onResponse = listenerOf('onHead');
const onTrailers = listenerOf('onTrailers');

function onData(this: OwnedStream, bytes: Buffer): void {
  const request = this[owner]!;
  try {
    request.onBody(bytes);
  } catch (thrown) {
    request.fail(thrown as Error);
  }
}

function onEnd(this: OwnedStream): void {
  const request = this[owner]!;
  try {
    request.onRead();
  } catch (thrown) {
    request.fail(thrown as Error);
  }
}

function onError(this: OwnedStream, error: Error): void {
  this[owner]!.onError(error);
}

function onClose(this: OwnedStream): void {
  this[owner]!.onClosed();
}
