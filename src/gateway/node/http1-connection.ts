import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Timer } from '../../base/clock.ts';
import { GrowingBytes } from '../../base/growing-bytes.ts';
import { releaseSocket } from '../../base/net/release-socket.ts';
import { SocketInput } from '../../base/net/socket-input.ts';
import { Http1Error } from '../../http1/http1-error.ts';
import { type AfterHead, MessageParser, type MessageSink } from '../../http1/message-parser.ts';
import { parseRequestHead } from '../../http1/request-head.ts';
import type { HeaderList, HttpExchange } from '../../http-exchange/http-exchange.ts';
import { SocketWriter } from '../../stream-io/node/socket-writer.ts';
import { GatewayError } from '../gateway-error.ts';
import type { ClientConnection } from './client-connection.ts';
import type { RawConnection } from './client-side.ts';
import { ForwardedRequest } from './forwarded-request.ts';
import type { GatewayContext } from './gateway-context.ts';
import { type Http1Carrier, Http1Client } from './http1-client.ts';
import { http1ErrorAnswer } from './http1-error-answer.ts';
import { readUpgrade } from './http1-upgrade.ts';
import { LingeringClose } from './lingering-close.ts';
import type { GatewayServerLimits } from './server-limits.ts';
import { UpgradedConnection } from './upgraded-connection.ts';

export interface Http1ConnectionOptions {
  readonly socket: Socket;
  readonly connection: ClientConnection;
  readonly context: GatewayContext;
  readonly limits: GatewayServerLimits;
  readonly onClosed: () => void;
}

/** Bytes of an answer that wait for the kernel, beyond which the server has to wait. */
const maxUnsentBytes = 64 * 1024;

/**
 * A client's connection of HTTP/1.1 (RFC 9112): it reads one request at a time, and the next one
 * when the answer is complete.
 */
export class Http1Connection implements MessageSink, Http1Carrier {
  isLast = false;
  readonly #options: Http1ConnectionOptions;
  readonly #socket: Socket;
  readonly #parser: MessageParser;
  readonly #writer: SocketWriter;
  /** The request whose body is being read. */
  #receiving: Http1Client | undefined;
  /** The request whose answer is not complete. */
  #answering: Http1Client | undefined;
  /** All of the answer is with the writer. */
  #isFinished = false;
  #unsentBytes = 0;
  #isHeldUp = false;
  /** Bytes behind a request that is not answered yet. */
  readonly #held = new GrowingBytes();
  #headTimer: Timer | undefined;
  #raw: UpgradedConnection | undefined;
  /** The last request has no known end, so the client may send more behind it. */
  #isEndUnknown = false;
  #linger: LingeringClose | undefined;

  constructor(options: Http1ConnectionOptions) {
    const { socket, limits } = options;
    this.#options = options;
    this.#socket = socket;
    this.#parser = new MessageParser(this, limits);
    this.#parser.begin();
    this.#writer = new SocketWriter(socket, (bytes) => this.#onTaken(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('end', () => this.#onSocketEnd());
    socket.on('close', () => this.#onSocketClose());
    new SocketInput(socket, Buffer.alloc(0)).start((bytes) => this.#onRead(bytes as Buffer));
  }

  /** The last answer waits for its client to read it. */
  get isLingering(): boolean {
    return this.#linger !== undefined;
  }

  /** Takes no new request. The current one goes on. Idempotent. */
  shutdown(): void {
    this.isLast = true;
    if (this.#answering === undefined && !this.#parser.isInHead) this.#close();
  }

  // The parts of a request.

  onHead(text: string): AfterHead {
    const head = parseRequestHead(text);
    const { connection, context } = this.#options;
    this.#headTimer?.cancel();
    this.#headTimer = undefined;
    const { isUpgrade, headers, problem = head.problem } = readUpgrade(head);
    this.#isEndUnknown = problem !== undefined || head.method === 'CONNECT';
    if (!head.keepsAlive || isUpgrade || this.#isEndUnknown) this.isLast = true;
    connection.started();
    const request = {
      method: head.method,
      target: head.target,
      headers,
      client: connection.client(head.host),
      hasBody: head.framing.kind !== 'none',
      certificate: connection.certificate,
    };
    const forwarded = new ForwardedRequest(context, request, connection);
    const client = new Http1Client(this, { ...head, isUpgrade }, forwarded);
    this.#answering = this.#receiving = client;
    if (problem !== undefined) {
      forwarded.refuse(client, new GatewayError('BadRequest', problem, { hop: 'client' }));
      return { kind: 'none' };
    }
    forwarded.start(client);
    // It is read on, because the end of a client that leaves is behind its bytes.
    return isUpgrade ? { kind: 'raw' } : head.framing;
  }

  onBody(bytes: Uint8Array): void {
    this.#receiving!.body.push(bytes);
  }

  onTrailers(trailers: HeaderList): void {
    this.#receiving!.body.trailers = trailers;
  }

  onComplete(): void {
    const { body } = this.#receiving!;
    this.#receiving = undefined;
    // The connection must show that the client leaves, and carries the next request.
    this.#socket.resume();
    body.complete();
  }

  // The calls of the request.

  endAfterAnswer(): void {
    this.isLast = true;
  }

  sendText(text: string): void {
    this.#unsentBytes += text.length;
    this.#writer.writeText(text);
  }

  send(bytes: Uint8Array): boolean {
    this.#unsentBytes += bytes.length;
    this.#writer.write(bytes);
    if (this.#unsentBytes <= maxUnsentBytes) return true;
    this.#isHeldUp = true;
    return false;
  }

  finish(): void {
    this.#isFinished = true;
    if (this.#unsentBytes === 0) this.#onAnswered();
  }

  cut(): void {
    const socket = this.#socket;
    // Without a length and without chunks, a FIN would look like the end of the body.
    if (socket instanceof TLSSocket) socket.destroy();
    else socket.resetAndDestroy();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  upgrade(head: string, exchange: HttpExchange): RawConnection {
    const socket = this.#socket;
    this.sendText(head);
    this.#writer.flush();
    const raw = (this.#raw = new UpgradedConnection(socket, exchange, this.#options.context.clock));
    const early = this.#held.take();
    if (early.length > 0) raw.push(early);
    else socket.resume();
    return raw;
  }

  #onRead(bytes: Buffer): void {
    if (this.#raw !== undefined) {
      this.#raw.push(bytes);
    } else if (this.#linger === undefined) {
      this.#parse(bytes);
      this.#watchHead();
    }
  }

  #parse(bytes: Buffer): void {
    try {
      for (let at = 0; at < bytes.length;) {
        if (this.#parser.isIdle) {
          if (this.isLast) return;
          if (this.#answering !== undefined) return this.#holdNext(bytes.subarray(at));
          this.#parser.begin();
        }
        const rest = at === 0 ? bytes : bytes.subarray(at);
        if (this.#parser.isBeforeHead && rest[0] === 0x0d && rest[1] === 0x0a) {
          // Some clients send an empty line behind a body (RFC 9112, section 2.2).
          at += 2;
          continue;
        }
        const taken = this.#parser.push(rest);
        // The bytes behind the head of an upgrade belong to the new protocol.
        if (taken === 0 && !this.#parser.isIdle) return this.#holdEarly(rest);
        at += taken;
      }
    } catch (thrown) {
      if (!(thrown instanceof Http1Error)) throw thrown;
      this.#refuse(thrown);
    }
  }

  /** Requests that came ahead of an answer. */
  #holdNext(bytes: Buffer): void {
    this.#held.append(bytes);
    if (this.#held.length <= this.#options.limits.maxHeldBytes) return;
    // The client may have all of the answer before this process knows it.
    if (this.#answering!.hasBegun) this.#socket.pause();
    else this.#socket.destroy();
  }

  /** Bytes of the new protocol, before the server has agreed to it. */
  #holdEarly(bytes: Buffer): void {
    this.#held.append(bytes);
    if (this.#held.length >= this.#options.limits.maxHeldBytes) this.#socket.pause();
  }

  /** A client that has begun a head must send all of it in time. */
  #watchHead(): void {
    if (!this.#parser.isInHead || this.#headTimer !== undefined || this.#socket.destroyed) return;
    const { context, limits } = this.#options;
    this.#headTimer = context.clock.setTimer(limits.headTimeoutMs, () => this.#socket.destroy());
  }

  /** Answers bytes that are no request, and closes. */
  #refuse(error: Http1Error): void {
    this.isLast = true;
    this.#parser.stop();
    if (this.#answering !== undefined) return this.#answering.onBodyInvalid(error.message);
    // A body whose request was answered already gets no other answer.
    if (this.#receiving === undefined) this.#socket.write(http1ErrorAnswer(error));
    this.#isEndUnknown = true;
    this.#close();
  }

  /** Ends the connection behind its last answer. Idempotent. */
  #close(): void {
    const { context, limits } = this.#options;
    if (this.#receiving === undefined && !this.#isEndUnknown) return this.#socket.destroySoon();
    this.#linger ??= new LingeringClose(this.#socket, context.clock, limits.answeredLingerMs);
  }

  #onTaken(bytes: number): void {
    this.#unsentBytes -= bytes;
    if (this.#unsentBytes > 0 || this.#answering === undefined) return;
    if (this.#isFinished) {
      this.#onAnswered();
    } else if (this.#isHeldUp) {
      this.#isHeldUp = false;
      this.#answering.onDrain();
    }
  }

  #onAnswered(): void {
    const client = this.#answering!;
    this.#answering = undefined;
    this.#isFinished = this.#isHeldUp = false;
    // A drain waits for the client, and asks when the request ends.
    if (this.isLast) this.#close();
    client.onClosed(true);
    this.#options.connection.ended();
    if (this.isLast) return;
    // The rest of a body that nobody wants is in front of the next request.
    this.#socket.resume();
    const held = this.#held.take();
    if (held.length > 0) this.#onRead(Buffer.from(held.buffer, 0, held.length));
  }

  #onSocketEnd(): void {
    // A client that ends its direction has gone, as it has for every server of Go.
    if (this.#raw === undefined) this.#socket.destroySoon();
  }

  #onSocketClose(): void {
    this.#headTimer?.cancel();
    this.#linger?.cancel();
    this.#writer.discard();
    const client = this.#answering;
    this.#answering = this.#receiving = undefined;
    if (client !== undefined) {
      client.onClosed(this.#raw?.isComplete === true);
      this.#options.connection.ended();
    }
    this.#options.onClosed();
    releaseSocket(this.#socket);
  }
}
