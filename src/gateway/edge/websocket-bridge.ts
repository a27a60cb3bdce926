import { asError } from '../../base/error.ts';
import type { HttpExchange, HttpExchangeHandler } from '../../http-exchange/http-exchange.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { Opcode } from '../../websocket/message-header.ts';
import {
  clientFrame,
  closeFramePayload,
  type FrameSink,
  ServerFrames,
} from './websocket-frames.ts';

/** The client's WebSocket, as the runtime has it. */
export interface ClientSocket {
  send(message: string | ArrayBuffer | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
  addEventListener(kind: 'message' | 'close' | 'error', listener: (event: object) => void): void;
}

interface MessageEventData {
  readonly data: string | ArrayBuffer;
}

interface CloseEventData {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
}

/** Events of an exchange after its 101. */
type RawEvents = Pick<HttpExchangeHandler, 'onData' | 'onEnd' | 'onWritable' | 'onClose'>;

/**
 * The most bytes of a client that wait for the agent, with the answers to the server's pings. The
 * runtime cannot stop reading from a WebSocket, so a client that is faster than its cluster loses
 * the connection.
 */
const maxWaitingBytes = 32 * 1024 * 1024;

/**
 * Joins a client's WebSocket with the raw WebSocket bytes of an upgraded exchange: messages on one
 * side, frames on the other.
 */
export class WebSocketBridge implements RawEvents, FrameSink {
  readonly #socket: ClientSocket;
  readonly #exchange: HttpExchange;
  readonly #onEnded: (isComplete: boolean, sentBytes: number) => void;
  readonly #frames = new ServerFrames(this);
  #sentBytes = 0;
  #waitingBytes = 0;
  /** The socket is closed, or was told to close. */
  #isSocketClosed = false;
  #hasCloseFrame = false;
  /** The server gets nothing more, neither messages nor answers to its pings. */
  #isExchangeEnded = false;
  #isOver = false;

  constructor(
    socket: ClientSocket,
    exchange: HttpExchange,
    onEnded: (isComplete: boolean, sentBytes: number) => void,
  ) {
    this.#socket = socket;
    this.#exchange = exchange;
    this.#onEnded = onEnded;
    socket.addEventListener('message', (event) => {
      const { data } = event as MessageEventData;
      if (typeof data === 'string') this.#write(Opcode.text, new TextEncoder().encode(data));
      else this.#write(Opcode.binary, new Uint8Array(data));
    });
    socket.addEventListener('close', (event) => {
      const { code, reason, wasClean } = event as CloseEventData;
      this.#onSocketClosed(code, reason, wasClean && code !== 1006);
    });
    socket.addEventListener('error', () => this.#onSocketClosed(1006, '', false));
  }

  onData(bytes: Uint8Array): void {
    this.#sentBytes += bytes.length;
    try {
      this.#frames.push(bytes);
      this.#exchange.consumed(bytes.length);
    } catch (thrown) {
      this.fail(TunnelError.from(asError(thrown), 'protocol_error'));
    }
  }

  onMessage(message: string | Uint8Array<ArrayBuffer>): void {
    if (!this.#isSocketClosed) this.#socket.send(message);
  }

  onPing(payload: Uint8Array): void {
    this.#write(Opcode.pong, payload);
  }

  onCloseFrame(code: number | undefined, reason: string): void {
    this.#hasCloseFrame = true;
    this.#closeSocket(code, reason);
    this.#write(Opcode.close, closeFramePayload(code ?? 1005, reason));
    this.#endExchange();
  }

  onEnd(): void {
    if (!this.#hasCloseFrame) this.#closeSocket(1011, 'the server ended the connection');
    this.#endExchange();
  }

  onWritable(): void {
    this.#waitingBytes = 0;
  }

  onClose(error: TunnelError | undefined): void {
    this.#closeSocket(1011, error?.message ?? 'the server ended the connection');
    this.#end(error === undefined);
  }

  #write(opcode: Opcode, payload: Uint8Array): void {
    if (this.#isOver || this.#isExchangeEnded) return;
    const frame = clientFrame(opcode, payload);
    if (this.#exchange.write(frame)) return;
    this.#waitingBytes += frame.length;
    if (this.#waitingBytes <= maxWaitingBytes) return;
    const sentence = `more than ${maxWaitingBytes} bytes wait for the cluster`;
    this.fail(new TunnelError('overloaded', sentence));
  }

  #endExchange(): void {
    this.#isExchangeEnded = true;
    this.#exchange.end();
  }

  #onSocketClosed(code: number, reason: string, isClean: boolean): void {
    const wasClosed = this.#isSocketClosed;
    this.#isSocketClosed = true;
    if (this.#isOver) return;
    if (!isClean) {
      this.#exchange.reset(new TunnelError('cancelled', 'the client has closed the connection'));
      return this.#end(false);
    }
    if (wasClosed) return;
    // The server answers with its own close frame and ends the connection.
    this.#write(Opcode.close, closeFramePayload(code, reason));
    this.#endExchange();
    // The runtime waits for this answer.
    this.#socket.close(isSendable(code) ? code : undefined, reason);
  }

  #closeSocket(code: number | undefined, reason: string): void {
    if (this.#isSocketClosed) return;
    this.#isSocketClosed = true;
    if (code === undefined || !isSendable(code)) this.#socket.close();
    else this.#socket.close(code, shortened(reason));
  }

  /** Ends both sides. */
  fail(error: TunnelError): void {
    this.#exchange.reset(error);
    this.#closeSocket(1011, error.message);
    this.#end(false);
  }

  #end(isComplete: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onEnded(isComplete, this.#sentBytes);
  }
}

/** The codes that a program may send (RFC 6455, section 7.4). */
function isSendable(code: number): boolean {
  return code >= 1000 && code < 5000 && ![1004, 1005, 1006, 1015].includes(code);
}

/** A reason fits into a control frame. */
function shortened(reason: string): string {
  return new TextEncoder().encode(reason).length <= 123 ? reason : `${reason.slice(0, 40)}...`;
}
