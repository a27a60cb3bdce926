import type { Socket } from 'node:net';
import { useStaticReads } from '../../base/net/static-reads.ts';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import { SocketWriter } from '../../stream-io/node/socket-writer.ts';
import type { ConnectionUser } from './connection-user.ts';
import type { RequestCarrier } from './request-carrier.ts';
import type { RequestText } from './request-text.ts';
import { Http1Error } from '../../http1/http1-error.ts';
import { ResponseError } from './response-error.ts';
import type { ParsedHead } from '../../http1/response-head.ts';
import { ResponseParser, type ResponseSink } from '../../http1/response-parser.ts';

/** How long an idle connection is kept if the server does not tell, in milliseconds. */
const idleMs = 60_000;

const crlf = Buffer.from('\r\n');

/** A connection to a server, which carries one request at a time. */
export class HttpConnection implements ResponseSink, RequestCarrier {
  /** Until when it may be used again, by the clock of the pool, in milliseconds. */
  expiresAtMs = Infinity;
  keepMs = idleMs;
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
  readonly #parser = new ResponseParser(this);
  readonly #onIdle: ((connection: HttpConnection) => void) | undefined;
  #user: ConnectionUser | undefined;
  #request: RequestText | undefined;
  #upgrade: ParsedHead | undefined;
  /** Bytes of the body that were given to the writer, and not yet reported as taken. */
  #untakenBytes = 0;
  #isRequestSent = false;
  #keepsAlive = false;
  #isPaused = false;
  /** An upgraded connection is not this object's any more. */
  #isGivenAway = false;

  /**
   * @param onIdle the connection may carry another request; undefined: it is for one request, which
   *   may be an upgrade, so it must not share the memory for reads
   */
  constructor(socket: Socket, onIdle?: (connection: HttpConnection) => void) {
    this.#socket = socket;
    this.#onIdle = onIdle;
    this.#writer = new SocketWriter(socket, (bytes) => this.#onTaken(bytes));
    socket.on('end', this.#onSocketEnd).on('error', this.#onSocketError);
    socket.on('close', this.#onSocketEnd);
    const isShared = onIdle !== undefined;
    if (!isShared || !useStaticReads(socket, (bytes) => this.#onRead(bytes as Buffer))) {
      socket.on('data', this.#onSocketData);
    }
    socket.resume();
  }

  get isUsable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable && this.#user === undefined;
  }

  send(request: RequestText, user: ConnectionUser): void {
    this.#request = request;
    this.#user = user;
    this.#untakenBytes = 0;
    this.#isRequestSent = request.bodyBytes === 0;
    this.#parser.begin(request.method);
    // A head without a body takes no buffer of the writer, of which 1,000 watches would need many.
    if (this.#isRequestSent) this.#socket.write(request.text, 'latin1');
    else this.#writer.write(Buffer.from(request.text, 'latin1'));
  }

  /** Sends a piece of the request's body, which is copied. */
  writeBody(bytes: Uint8Array): void {
    if (this.#isRequestSent) return;
    this.#untakenBytes += bytes.length;
    if (this.#request?.bodyBytes !== undefined) return this.#writer.write(bytes);
    this.#writer.write(Buffer.from(`${bytes.length.toString(16)}\r\n`, 'latin1'));
    this.#writer.write(bytes);
    this.#writer.write(crlf);
  }

  /** Ends the request's body. */
  endBody(trailers: HeaderList): void {
    if (this.#isRequestSent) return;
    this.#isRequestSent = true;
    if (this.#request?.bodyBytes !== undefined) return;
    const fields = trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    this.#writer.write(Buffer.from(`0\r\n${fields}\r\n`, 'latin1'));
  }

  /** `onBody` returned false before, and there is room again. */
  resume(): void {
    if (!this.#isPaused || this.#isGivenAway) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** Ends the connection and its request. The user hears no more. Idempotent. */
  destroy(): void {
    this.#user = undefined;
    if (!this.#isGivenAway) this.#socket.destroy();
  }

  onInformational(head: ParsedHead): void {
    this.#user!.onInformational(head);
  }

  onHead(head: ParsedHead): void {
    if (head.status === 101) {
      if (this.#request?.isUpgrade !== true) {
        throw new ResponseError('it has the status 101, which was not requested');
      }
      this.#upgrade = head;
      return;
    }
    this.#keepsAlive = head.keepsAlive;
    const { keepAliveSeconds } = head;
    // One second earlier than the server, so that a request does not meet the end.
    if (keepAliveSeconds !== undefined) {
      this.keepMs = Math.min(idleMs, Math.max(0, (keepAliveSeconds - 1) * 1_000));
    }
    this.#user!.onHead(head);
  }

  onBody(bytes: Uint8Array): void {
    if (this.#user?.onBody(bytes) === false) this.#isPaused = true;
  }

  onTrailers(trailers: HeaderList): void {
    this.#user?.onResponseTrailers(trailers);
  }

  onComplete(): void {
    const user = this.#user;
    this.#user = undefined;
    // TLS delivers what it has decrypted, although the socket is paused. So the last bytes of a
    // response can arrive after a pause, and the next request needs the socket to read.
    this.resume();
    user?.onComplete();
  }

  /** True: read on. */
  #onRead(bytes: Buffer): boolean {
    if (this.#user === undefined) {
      // A server that answers before it is asked, or an exchange that has ended.
      this.#socket.destroy();
      return false;
    }
    try {
      const takenBytes = this.#parser.push(bytes);
      if (this.#upgrade !== undefined) {
        this.#giveAway(this.#upgrade, bytes.subarray(takenBytes));
        return false;
      }
      if (this.#user === undefined) this.#release(takenBytes < bytes.length);
    } catch (thrown) {
      const error = thrown as Error;
      const isInvalid = error instanceof Http1Error;
      this.#fail(isInvalid ? new ResponseError(error.message, { cause: error }) : error, false);
    }
    return !this.#isPaused;
  }

  /** The response is complete. @param hasRest the server has sent more than that */
  #release(hasRest: boolean): void {
    if (this.#socket.destroyed) return;
    const isReusable = !hasRest && this.#keepsAlive && this.#isRequestSent;
    if (isReusable && this.#onIdle !== undefined) this.#onIdle(this);
    else this.#socket.destroy();
  }

  #giveAway(head: ParsedHead, rest: Uint8Array): void {
    const user = this.#user!;
    const socket = this.#socket;
    this.#user = undefined;
    this.#isGivenAway = true;
    socket.off('end', this.#onSocketEnd).off('error', this.#onSocketError);
    socket.off('close', this.#onSocketEnd).off('data', this.#onSocketData);
    socket.pause();
    user.onUpgrade(head, socket, rest);
  }

  #fail(error: Error, isUnanswered: boolean): void {
    const user = this.#user;
    this.destroy();
    user?.onFailed(error, isUnanswered);
  }

  readonly #onSocketData = (bytes: Buffer): void => {
    if (!this.#onRead(bytes)) this.#socket.pause();
  };

  readonly #onSocketEnd = (): void => {
    if (this.#user === undefined) return void this.#socket.destroy();
    const isUnanswered = !this.#parser.hasBegun;
    if (this.#parser.finish()) this.#socket.destroy();
    else this.#fail(new Error('the server closed the connection'), isUnanswered);
  };

  readonly #onSocketError = (error: Error): void => {
    this.#fail(error, !this.#parser.hasBegun);
  };

  #onTaken(bytes: number): void {
    const taken = Math.min(bytes, this.#untakenBytes);
    if (taken === 0) return;
    this.#untakenBytes -= taken;
    this.#user?.onTaken(taken);
  }
}
