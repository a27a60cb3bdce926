import type { Socket } from 'node:net';
import { systemClock, type Clock, type Timer } from '../base/clock.ts';
import type { SenderOwner } from '../base/net/socket-sender.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameDecoder, type FrameLimits } from '../tunnel/frame-decoder.ts';
import type { FrameType } from '../tunnel/frame.ts';
import { defaultLimits } from '../tunnel/limits.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import type { Block } from '../tunnel/slab.ts';
import { closeError, closePayload } from './close-code.ts';
import { KeepAlive, type KeepAliveActions, type KeepAliveOptions } from './keep-alive.ts';
import { LinkSender } from './link-sender.ts';
import { Opcode } from './message-header.ts';
import { MessageParser, type MessageHandler, type WebSocketRole } from './message-parser.ts';
import type { SocketInput } from '../base/net/socket-input.ts';

const closeTimeoutMs = 2_000;

const noBytes = new Uint8Array(0);

export interface WebSocketLinkOptions {
  readonly role: WebSocketRole;
  /** Where the other end is, for logs. */
  readonly peer: string;
  /** The address of this end (default: not known). */
  readonly local?: string | undefined;
  readonly keepAlive: KeepAliveOptions;
  readonly limits?: FrameLimits;
}

/**
 * A link over a socket on which the WebSocket handshake is done. `acceptWebSocket` and
 * `connectWebSocket` make them.
 *
 * A broker holds thousands of links that are silent for hours. So parts that only some links need
 * are made when they are needed, and the parts call the link without closures.
 */
export class WebSocketLink
  implements AttachableLink, MessageHandler, KeepAliveActions, SenderOwner
{
  readonly peer: string;
  readonly local: string | undefined;

  /** Bytes and frames that were received since the handshake. */
  bytesIn = 0;
  framesIn = 0;

  readonly #socket: Socket;
  readonly #input: SocketInput;
  readonly #sender: LinkSender;
  readonly #parser: MessageParser;
  readonly #keepAliveOptions: KeepAliveOptions;
  readonly #limits: FrameLimits;
  readonly #clock: Clock;
  #owner: LinkOwner | undefined;
  #decoder: FrameDecoder | undefined;
  #keepAlive: KeepAlive | undefined;

  #state: 'open' | 'closing' | 'closed' = 'open';
  #closeError: TunnelError | undefined;
  #socketError: Error | undefined;
  #closeTimer: Timer | undefined;
  /** Further bytes of the other end are ignored. */
  #inputEnded = false;

  #paused = false;

  constructor(socket: Socket, input: SocketInput, options: WebSocketLinkOptions) {
    this.peer = options.peer;
    this.local = options.local;
    this.#socket = socket;
    this.#input = input;
    this.#keepAliveOptions = options.keepAlive;
    this.#limits = options.limits ?? defaultLimits;
    this.#clock = options.keepAlive.clock ?? systemClock;
    this.#sender = new LinkSender(socket, options.role, this);
    this.#parser = new MessageParser(options.role, this, this.#limits.maxDataFrameBytes);
    socket.setNoDelay(true);
    socket.setTimeout(0);
    socket.on('error', (error) => (this.#socketError = error));
    socket.on('end', () => this.#onSocketEnd());
    socket.on('close', () => this.#onSocketClose());
  }

  /** Sets the owner. Frames that came before wait for this. Call once. */
  attach(owner: LinkOwner): void {
    this.#owner = owner;
    if (this.#state === 'closed') {
      setImmediate(() => owner.onClose(this.#closeError));
      return;
    }
    this.#decoder = new FrameDecoder(owner, this.#limits);
    this.#keepAlive = new KeepAlive(this.#keepAliveOptions, this);
    this.#input.start((bytes) => this.#receive(bytes));
    if (this.#paused) this.#socket.pause();
  }

  /** Frames that were sent since the handshake, and the bytes of their messages. */
  get framesOut(): number {
    return this.#sender.frames;
  }

  get bytesOut(): number {
    return this.#sender.bytes;
  }

  get silentMs(): number {
    return this.#keepAlive?.silentMs ?? 0;
  }

  probe(): void {
    this.#keepAlive?.probe();
  }

  get room(): number {
    return this.#state === 'open' ? this.#sender.room : 0;
  }

  send({ slab, start, end }: Block): void {
    if (this.#state === 'open') this.#sender.frame(slab.bytes, start, end);
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (this.#state === 'open') this.#sender.frameOf(type, session, stream, payload);
  }

  wake(now = false): void {
    if (this.#state === 'open') this.#sender.wake(now);
  }

  pause(): void {
    if (this.#state !== 'open' || this.#paused) return;
    this.#paused = true;
    this.#keepAlive?.pause();
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#keepAlive?.resume();
    if (this.#owner !== undefined) this.#socket.resume();
  }

  close(error?: TunnelError): void {
    if (this.#state !== 'open') return;
    this.#beginClose(error, closePayload(error));
  }

  // The calls of the link's parts: the sender, the keep-alive, the parser.

  get canPull(): boolean {
    return this.#state === 'open' && this.#owner !== undefined;
  }

  pull(): void {
    try {
      this.#owner!.pull();
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  onDrained(): void {
    if (this.#inputEnded) this.#socket.end();
  }

  ping(): void {
    this.#sender.control(Opcode.text, pingText);
  }

  reassure(): void {
    this.#answer(Opcode.text, pongText);
  }

  dead(error: TunnelError): void {
    this.close(error);
  }

  onBinary(piece: Uint8Array, ends: boolean): void {
    if (ends) this.framesIn++;
    if (this.#state === 'open') this.#decoder!.push(piece, ends);
  }

  onText(text: 'ping' | 'pong'): void {
    if (text === 'ping') this.#answer(Opcode.text, pongText);
  }

  onPing(payload: Uint8Array): void {
    this.#answer(Opcode.pong, payload);
  }

  onPong(): void {
    // Any received byte counts as a sign of life, so that there is nothing to do.
  }

  onCloseFrame(code: number | undefined, reason: string): void {
    this.#inputEnded = true;
    if (this.#state === 'open') {
      const error = closeError(code, reason);
      const echo = code === undefined ? noBytes : Uint8Array.of(code >>> 8, code);
      this.#beginClose(error, echo);
    }
    this.#finish(this.#closeError);
  }

  #receive(bytes: Uint8Array): void {
    this.bytesIn += bytes.length;
    this.#keepAlive?.bytesArrived();
    if (this.#inputEnded) return;
    try {
      this.#parser.push(bytes);
    } catch (thrown) {
      this.#inputEnded = true;
      this.close(TunnelError.from(thrown));
      this.#finish(this.#closeError);
    }
  }

  /**
   * A full link sends no answer, because the bytes that wait are a sign of life, and answers would
   * pile up.
   */
  #answer(opcode: Opcode, payload: Uint8Array): void {
    if (this.room > 0) this.#sender.control(opcode, payload);
  }

  #beginClose(error: TunnelError | undefined, payload: Uint8Array): void {
    this.#state = 'closing';
    this.#closeError = error;
    this.#keepAlive?.stop();
    this.#closeTimer = this.#clock.setTimer(closeTimeoutMs, () => this.#socket.destroy());
    this.#sender.control(Opcode.close, payload);
    this.#sender.flush();
    // Without an owner the link does not read, so that it would never see the answer of the peer.
    if (this.#owner === undefined) this.#finish(error);
    else this.resume();
  }

  #onSocketEnd(): void {
    if (this.#inputEnded) return;
    this.#lose('the other end closed its connection without a close frame');
    this.#socket.destroy();
  }

  #onSocketClose(): void {
    this.#closeTimer?.cancel();
    this.#lose('the connection was lost');
    this.#sender.destroy();
  }

  #lose(message: string): void {
    if (this.#state === 'closed') return;
    const cause = this.#socketError;
    const error =
      cause === undefined
        ? new TunnelError('link_lost', message)
        : new TunnelError('link_lost', `${message}: ${cause.message}`, { cause });
    this.#finish(this.#state === 'closing' ? this.#closeError : error);
  }

  /** Tells the owner, once, and ends the socket as soon as it has taken the last bytes. */
  #finish(error: TunnelError | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#closeError = error;
    this.#inputEnded = true;
    this.#keepAlive?.stop();
    if (!this.#sender.hasQueued) this.#socket.end();
    // Unread bytes would make the kernel reset the connection, and the close frame would be lost.
    if (this.#owner === undefined) this.#input.start(() => {});
    this.#owner?.onClose(error);
  }
}

const pingText = new TextEncoder().encode('ping');
const pongText = new TextEncoder().encode('pong');
