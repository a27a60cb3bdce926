import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { systemClock, type Clock, type Timer } from '../base/clock.ts';
import { atEndOfTurn } from '../base/end-of-turn.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameDecoder, type FrameLimits } from '../tunnel/frame-decoder.ts';
import { frameHeaderBytes, writeFrameHeader, type FrameType } from '../tunnel/frame.ts';
import { defaultLimits } from '../tunnel/limits.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import type { Block } from '../tunnel/slab.ts';
import { closeError, closePayload } from './close-code.ts';
import { KeepAlive, type KeepAliveActions, type KeepAliveOptions } from './keep-alive.ts';
import { applyMask, randomMaskKey } from './mask.ts';
import {
  maxMessageHeaderBytes,
  messageHeaderBytes,
  Opcode,
  writeMessageHeader,
} from './message-header.ts';
import { MessageParser, type MessageHandler, type WebSocketRole } from './message-parser.ts';
import type { SocketInput } from './socket-input.ts';
import { SocketOutput, type OutputOwner } from './socket-output.ts';

/** What a link takes before it asks its owner to stop, queued or given to the socket within one turn. */
const highWaterBytes = 256 * 1024;
const flushBytes = 64 * 1024;
const closeTimeoutMs = 2_000;

/** A block of at least this size goes by reference over a plain socket: an own piece costs as much as copying this. */
const byReferenceFromBytes = 8 * 1024;

const noBytes = new Uint8Array(0);

export interface WebSocketLinkOptions {
  readonly role: WebSocketRole;
  /** Where the other end is, for logs. */
  readonly peer: string;
  readonly keepAlive: KeepAliveOptions;
  readonly limits?: FrameLimits;
}

/**
 * A link over a socket on which the WebSocket handshake is done. `acceptWebSocket` and `connectWebSocket` make them.
 *
 * A broker holds thousands that say nothing for hours, so what only some links need at some time is made then, and the link's parts
 * call it without a closure between.
 */
export class WebSocketLink
  implements AttachableLink, MessageHandler, KeepAliveActions, OutputOwner
{
  readonly peer: string;

  /** Since the handshake: bytes received, bytes of frames sent, and frames. */
  bytesIn = 0;
  bytesOut = 0;
  framesIn = 0;
  framesOut = 0;

  readonly #socket: Socket;
  readonly #input: SocketInput;
  readonly #output: SocketOutput;
  readonly #parser: MessageParser;
  readonly #keepAliveOptions: KeepAliveOptions;
  readonly #limits: FrameLimits;
  readonly #clock: Clock;
  readonly #masked: boolean;
  readonly #randomMask: boolean;
  readonly #byReferenceFromBytes: number;
  #owner: LinkOwner | undefined;
  #decoder: FrameDecoder | undefined;
  #keepAlive: KeepAlive | undefined;

  #state: 'open' | 'closing' | 'closed' = 'open';
  #why: TunnelError | undefined;
  #socketError: Error | undefined;
  #closeTimer: Timer | undefined;
  /** The other end will send nothing more that matters. */
  #inputEnded = false;

  #paused = false;
  #wantsPull = false;
  #pulling = false;
  #turnPlanned = false;
  /** Bytes that the socket took at once in this turn; they count against `room` until it ends, so that one owner cannot hog a turn. */
  #turnBytes = 0;

  constructor(socket: Socket, input: SocketInput, options: WebSocketLinkOptions) {
    this.peer = options.peer;
    this.#socket = socket;
    this.#input = input;
    this.#keepAliveOptions = options.keepAlive;
    this.#limits = options.limits ?? defaultLimits;
    this.#clock = options.keepAlive.clock ?? systemClock;
    const isTls = socket instanceof TLSSocket;
    this.#masked = options.role === 'client';
    // Masks protect proxies on the way from payloads that look like HTTP. Inside TLS no proxy sees them, so there the key is zero, which
    // costs nothing at either end.
    this.#randomMask = this.#masked && !isTls;
    // TLS encrypts one contiguous piece at a time: whole records gathered from many frames cost less than a write for each block.
    this.#byReferenceFromBytes = isTls || this.#randomMask ? Infinity : byReferenceFromBytes;
    this.#output = new SocketOutput(socket, this);
    this.#parser = new MessageParser(options.role, this, this.#limits.maxDataFrameBytes);
    socket.setNoDelay(true);
    socket.setTimeout(0);
    socket.on('error', (error) => (this.#socketError = error));
    socket.on('end', () => this.#onSocketEnd());
    socket.on('close', () => this.#onSocketClose());
  }

  /** Names the owner; frames that came before wait for this. Call once. */
  attach(owner: LinkOwner): void {
    this.#owner = owner;
    if (this.#state === 'closed') {
      setImmediate(() => owner.onClose(this.#why));
      return;
    }
    this.#decoder = new FrameDecoder(owner, this.#limits);
    this.#keepAlive = new KeepAlive(this.#keepAliveOptions, this);
    this.#input.start((bytes) => this.#receive(bytes));
    if (this.#paused) this.#socket.pause();
  }

  get silentMs(): number {
    return this.#keepAlive?.silentMs ?? 0;
  }

  probe(): void {
    this.#keepAlive?.probe();
  }

  get room(): number {
    if (this.#state !== 'open') return 0;
    return highWaterBytes - this.#output.queuedBytes - this.#turnBytes;
  }

  send(block: Block): void {
    if (this.#state !== 'open') return;
    const payloadBytes = block.end - block.start;
    const bytes = block.slab.bytes;
    if (payloadBytes < this.#byReferenceFromBytes) {
      const key = this.#beginMessage(Opcode.binary, payloadBytes, 0);
      this.#output.copy(bytes, block.start, block.end, key, 0);
    } else {
      const start = block.start - messageHeaderBytes(payloadBytes, this.#masked);
      writeMessageHeader(bytes, start, Opcode.binary, payloadBytes, this.#masked ? 0 : undefined);
      this.#output.reference(block.slab, start, block.end);
    }
    this.#endMessage(payloadBytes);
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (this.#state !== 'open') return;
    const payloadBytes = frameHeaderBytes + payload.length;
    const key = this.#beginMessage(Opcode.binary, payloadBytes, frameHeaderBytes);
    const at = this.#output.reserve(frameHeaderBytes);
    const into = this.#output.slabBytes;
    writeFrameHeader(into, at, type, session, stream);
    applyMask(into, at, at + frameHeaderBytes, key, 0);
    this.#output.fill(frameHeaderBytes);
    this.#output.copy(payload, 0, payload.length, key, frameHeaderBytes);
    this.#endMessage(payloadBytes);
  }

  wake(now = false): void {
    if (this.#state !== 'open') return;
    this.#wantsPull = true;
    if (now && !this.#pulling && this.room > 0) this.#pull();
    else this.#planTurn();
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

  // What the link's parts call: the end of the turn, the keep-alive, the output, the parser.

  endTurn(): void {
    this.#turnPlanned = false;
    this.#turnBytes = 0;
    this.#pullIfWanted();
    this.#flush();
    this.#output.rest();
  }

  ping(): void {
    this.#sendControl(Opcode.text, pingText);
  }

  reassure(): void {
    this.#answer(Opcode.text, pongText);
  }

  dead(error: TunnelError): void {
    this.close(error);
  }

  /** The socket had to wait and is ready again. */
  onTaken(): void {
    this.#flush(this.#wantsPull);
    this.#pullIfWanted();
    this.#flush();
    if (this.#inputEnded && this.#output.queuedBytes === 0) this.#socket.end();
    if (!this.#turnPlanned) this.#output.rest();
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
    // That something came is all that counts.
  }

  onCloseFrame(code: number | undefined, reason: string): void {
    this.#inputEnded = true;
    if (this.#state === 'open') {
      const error = closeError(code, reason);
      const echo = code === undefined ? noBytes : Uint8Array.of(code >>> 8, code);
      this.#beginClose(error, echo);
    }
    this.#finish(this.#why);
  }

  #receive(bytes: Uint8Array): void {
    this.bytesIn += bytes.length;
    this.#keepAlive?.heard();
    if (this.#inputEnded) return;
    try {
      this.#parser.push(bytes);
    } catch (thrown) {
      this.#inputEnded = true;
      this.close(TunnelError.from(thrown));
      this.#finish(this.#why);
    }
  }

  /** Writes the header of a message and returns the key to mask its payload with. `more` bytes after it stay in the same piece. */
  #beginMessage(opcode: Opcode, payloadBytes: number, more: number): number {
    const key = this.#randomMask ? randomMaskKey() : 0;
    const at = this.#output.reserve(maxMessageHeaderBytes + more);
    writeMessageHeader(
      this.#output.slabBytes,
      at,
      opcode,
      payloadBytes,
      this.#masked ? key : undefined,
    );
    this.#output.fill(messageHeaderBytes(payloadBytes, this.#masked));
    return key;
  }

  #endMessage(payloadBytes: number): void {
    this.framesOut++;
    this.bytesOut += messageHeaderBytes(payloadBytes, this.#masked) + payloadBytes;
    if (this.#output.waitingBytes >= flushBytes) this.#flush(true);
    // Whoever fills the link is asked again when it has room, pulled or not: nobody has to remember to wake it.
    if (this.room <= 0) this.#wantsPull = true;
    this.#planTurn();
  }

  #sendControl(opcode: Opcode, payload: Uint8Array): void {
    const key = this.#beginMessage(opcode, payload.length, 0);
    this.#output.copy(payload, 0, payload.length, key, 0);
    this.#planTurn();
  }

  /** A peer that asks but does not read gets no answers piled up for it: what is queued will show that we live. */
  #answer(opcode: Opcode, payload: Uint8Array): void {
    if (this.room > 0) this.#sendControl(opcode, payload);
  }

  #planTurn(): void {
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    atEndOfTurn(this);
  }

  #flush(more = false): void {
    const takenBytes = this.#output.flush(more);
    if (takenBytes > 0) {
      this.#turnBytes += takenBytes;
      this.#planTurn();
    }
  }

  #pullIfWanted(): void {
    if (this.#wantsPull && this.#state === 'open' && this.room > 0) this.#pull();
  }

  #pull(): void {
    if (this.#owner === undefined) return;
    this.#wantsPull = false;
    this.#pulling = true;
    try {
      this.#owner.pull();
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    } finally {
      this.#pulling = false;
    }
  }

  #beginClose(why: TunnelError | undefined, payload: Uint8Array): void {
    this.#state = 'closing';
    this.#why = why;
    this.#keepAlive?.stop();
    this.#closeTimer = this.#clock.setTimer(closeTimeoutMs, () => this.#socket.destroy());
    this.#sendControl(Opcode.close, payload);
    this.#flush();
    // An end that nobody attached to understands nothing, so it would wait for the peer's answer in vain.
    if (this.#owner === undefined) this.#finish(why);
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
    this.#output.destroy();
  }

  #lose(message: string): void {
    if (this.#state === 'closed') return;
    const cause = this.#socketError;
    const error =
      cause === undefined
        ? new TunnelError('link_lost', message)
        : new TunnelError('link_lost', `${message}: ${cause.message}`, { cause });
    this.#finish(this.#state === 'closing' ? this.#why : error);
  }

  /** Tells the owner, once, and ends the socket as soon as it has taken our last bytes. */
  #finish(error: TunnelError | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#why = error;
    this.#inputEnded = true;
    this.#keepAlive?.stop();
    if (this.#output.queuedBytes === 0) this.#socket.end();
    // Unread bytes would make the kernel reset the connection and take our close frame with it.
    if (this.#owner === undefined) this.#input.start(() => {});
    this.#owner?.onClose(error);
  }
}

const pingText = new TextEncoder().encode('ping');
const pongText = new TextEncoder().encode('pong');
