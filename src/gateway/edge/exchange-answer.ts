import { ByteQueue } from '../../base/byte-queue.ts';
import { asError, describeError } from '../../base/error.ts';
import type {
  HttpExchange,
  HttpExchangeHandler,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { bodyLength } from '../body-length.ts';
import { exchangeError } from '../exchange-error.ts';
import type { AdmittedRequest } from '../admitted-request.ts';
import { GatewayError } from '../gateway-error.ts';
import type { RequestOwner, RequestRecord } from '../request-record.ts';
import { responseHeaders } from '../response-headers.ts';
import type { EdgeContext } from './edge-context.ts';
import { WebSocketBridge } from './websocket-bridge.ts';
import { runtimeHeaders } from './worker-request.ts';

export interface AnswerParts {
  readonly method: string;
  readonly admitted: AdmittedRequest;
  readonly record: RequestRecord;
}

/** What the client sends: a body, or nothing before the answer to its WebSocket handshake. */
export type ClientPart =
  | { readonly body: ReadableStream<Uint8Array> | null }
  | { readonly expectedAccept: string };

/** Statuses whose responses have no body (Fetch Standard, "null body status"). */
const nullBodyStatuses: ReadonlySet<number> = new Set([101, 204, 205, 304]);

/**
 * The answer to one request as a Response of the runtime. Both bodies are web streams with
 * back-pressure. A response that the server or the tunnel cuts ends with an error, so that the
 * client notices.
 */
export class ExchangeAnswer implements HttpExchangeHandler, RequestOwner {
  readonly #context: EdgeContext;
  readonly #parts: AnswerParts;
  readonly #answer = Promise.withResolvers<Response>();
  #exchange!: HttpExchange;
  #expectedAccept: string | undefined;
  #state: 'waiting' | 'answering' | 'raw' | 'over' = 'waiting';
  #bridge: WebSocketBridge | undefined;
  #upload: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  #reading: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** Received, and not taken by the runtime. */
  readonly #received = new ByteQueue();
  #isPieceWanted = false;
  #isEndReceived = false;
  /** Bytes of the body that are still to come; undefined: the head does not tell. */
  #leftBytes: number | undefined;

  constructor(context: EdgeContext, parts: AnswerParts) {
    this.#context = context;
    this.#parts = parts;
    parts.record.owner = this;
  }

  /** Resolves with the response once its head is there. @throws GatewayError */
  get response(): Promise<Response> {
    return this.#answer.promise;
  }

  /** To be called in the same turn in which the exchange was opened. */
  start(exchange: HttpExchange, part: ClientPart): void {
    this.#exchange = exchange;
    if ('expectedAccept' in part) this.#expectedAccept = part.expectedAccept;
    else if (part.body === null) exchange.end();
    else void this.#send(part.body.getReader());
  }

  /** The client has left. */
  abort(): void {
    if (this.#state === 'over') return;
    const left = new TunnelError('cancelled', 'the client has closed the connection');
    this.#exchange.reset(left);
    this.#fail(left);
  }

  /** The user has lost the right to the request. */
  onRevoked(reason: string): void {
    if (this.#state === 'over') return;
    const { cluster } = this.#parts.admitted.route;
    this.#context.log.info('request ended by rules', { cluster, reason });
    const error = new TunnelError('forbidden', reason);
    if (this.#bridge !== undefined) return this.#bridge.fail(error);
    this.#exchange.reset(error);
    if (this.#state === 'waiting') this.#answer.reject(new GatewayError('Forbidden', reason));
    this.#fail(error);
  }

  onHead(head: HttpResponseHead): void {
    if (this.#state !== 'waiting') return;
    const { admitted, method, record } = this.#parts;
    const { route, host } = admitted;
    const { status } = head;
    try {
      const forClient = { status, headers: responseHeaders(head.headers, route, host) };
      if (status === 101) {
        this.#upgrade(head, forClient);
      } else {
        this.#leftBytes = bodyLength(method, forClient);
        this.#answer.resolve(this.#begin(forClient));
      }
      record.answered(status);
    } catch (thrown) {
      this.#exchange.reset(TunnelError.from(asError(thrown), 'protocol_error'));
      this.#state = 'over';
      const message = `cluster "${route.cluster}": the server's answer is not valid HTTP: ${describeError(thrown)}`;
      this.#answer.reject(
        new GatewayError('BadGateway', message, { hop: 'server', cause: thrown }),
      );
    }
  }

  #begin({ status, headers }: HttpResponseHead): Response {
    const { method, record } = this.#parts;
    const hasBody = method !== 'HEAD' && !nullBodyStatuses.has(status);
    const forRuntime = runtimeHeaders(headers);
    if (record.isLongRunning) keepUncompressed(forRuntime);
    const init: ResponseInit & { readonly encodeBody: 'manual' } = {
      status,
      headers: forRuntime,
      // The body is encoded already, as Content-Encoding says.
      encodeBody: 'manual',
    };
    const response = new Response(hasBody ? this.#body() : null, init);
    this.#state = 'answering';
    return response;
  }

  #body(): ReadableStream<Uint8Array> {
    // With a length, the runtime sends it as Content-Length. Otherwise it would send chunks.
    const length = this.#leftBytes === undefined ? {} : { expectedLength: this.#leftBytes };
    return new ReadableStream<Uint8Array>(
      {
        ...length,
        start: (controller) => {
          this.#reading = controller;
        },
        pull: () => {
          this.#isPieceWanted = true;
          this.#deliver();
        },
        cancel: () => this.abort(),
      },
      { highWaterMark: 0 },
    );
  }

  #upgrade({ headers }: HttpResponseHead, forClient: HttpResponseHead): void {
    const valueOf = (wanted: string): string | undefined =>
      headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
    if (valueOf('upgrade')?.toLowerCase() !== 'websocket') {
      throw new Error('it changes to a protocol that the client did not ask for');
    }
    if (valueOf('sec-websocket-accept') !== this.#expectedAccept) {
      throw new Error('its Sec-WebSocket-Accept is not the one of this handshake');
    }
    if (valueOf('sec-websocket-extensions') !== undefined) {
      throw new Error('it uses an extension of WebSocket that was not offered');
    }
    const { response, socket } = this.#context.acceptWebSocket(
      runtimeHeaders(forClient.headers.filter(([name]) => !/^sec-websocket-accept$/i.test(name))),
    );
    const { record } = this.#parts;
    this.#bridge = new WebSocketBridge(socket, this.#exchange, (isComplete, sentBytes) => {
      this.#state = 'over';
      record.sentBytes = sentBytes;
      record.end(isComplete);
    });
    this.#state = 'raw';
    this.#answer.resolve(response);
  }

  onData(bytes: Uint8Array): void {
    if (this.#bridge !== undefined) return this.#bridge.onData(bytes);
    if (this.#state !== 'answering' || this.#reading === undefined) {
      return this.#exchange.consumed(bytes.length);
    }
    if (this.#leftBytes !== undefined && (this.#leftBytes -= bytes.length) < 0) {
      return this.#cut('has more bytes than its Content-Length');
    }
    this.#received.append(bytes);
    this.#deliver();
  }

  onEnd(): void {
    if (this.#bridge !== undefined) return this.#bridge.onEnd();
    if (this.#state !== 'answering') return;
    const hasBody = this.#reading !== undefined;
    if (hasBody && this.#leftBytes !== undefined && this.#leftBytes > 0) {
      return this.#cut('has fewer bytes than its Content-Length');
    }
    this.#isEndReceived = true;
    this.#deliver();
  }

  onWritable(): void {
    this.#room?.resolve();
    this.#bridge?.onWritable();
  }

  onStop(): void {
    void this.#upload?.cancel(new Error('the server reads no more of the body')).catch(() => {});
    this.#room?.resolve();
  }

  onClose(error: TunnelError | undefined): void {
    this.onStop();
    if (this.#bridge !== undefined) return this.#bridge.onClose(error);
    if (this.#state === 'waiting') {
      this.#state = 'over';
      const { cluster } = this.#parts.admitted.route;
      const isKnownCluster = this.#context.isKnownCluster(cluster);
      const cut = error ?? new TunnelError('reset', 'it ended without an answer');
      this.#answer.reject(exchangeError(cut, { cluster, isKnownCluster }));
    } else if (!this.#isEndReceived) {
      this.#fail(error ?? new TunnelError('reset', 'the response was cut'));
    }
  }

  /** Moves what has come to the runtime, if it wants more. */
  #deliver(): void {
    if (this.#state !== 'answering') return;
    const piece = this.#isPieceWanted ? this.#received.take() : undefined;
    if (piece !== undefined) {
      this.#isPieceWanted = false;
      this.#parts.record.sentBytes += piece.length;
      this.#exchange.consumed(piece.length);
      this.#reading?.enqueue(piece);
    }
    if (!this.#isEndReceived || this.#received.bytes > 0) return;
    this.#state = 'over';
    this.#reading?.close();
    this.#parts.record.end(true);
  }

  #cut(problem: string): void {
    const { cluster } = this.#parts.admitted.route;
    this.#context.log.warn('response cut', { cluster, reason: `the body ${problem}` });
    const error = new TunnelError('protocol_error', `the body of the response ${problem}`);
    this.#exchange.reset(error);
    this.#fail(error);
  }

  /** The client must notice that the response is not complete. */
  #fail(error: TunnelError): void {
    if (this.#state === 'over') return;
    if (this.#state === 'waiting') {
      const left = new GatewayError('BadGateway', error.message, { hop: 'client', cause: error });
      this.#answer.reject(left);
    }
    this.#state = 'over';
    this.#received.clear();
    this.#reading?.error(error);
    this.#parts.record.end(false);
  }

  async #send(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    this.#upload = reader;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        if (this.#state === 'over') return;
        if (value.length === 0 || this.#exchange.write(value)) continue;
        this.#room = Promise.withResolvers();
        await this.#room.promise;
      }
      this.#exchange.end();
    } catch {
      // The client has left in the middle of its body.
      this.abort();
    }
  }
}

/**
 * Cloudflare and wrangler's development server compress answers for clients that accept gzip, which
 * holds back the events of a watch. Each of the two fields prevents it at one of them.
 */
function keepUncompressed(headers: Headers): void {
  if (headers.has('Content-Encoding')) return;
  headers.set('Content-Encoding', 'identity');
  headers.append('Cache-Control', 'no-transform');
}
