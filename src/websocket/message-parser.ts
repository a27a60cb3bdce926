import { TunnelError } from '../tunnel/errors.ts';
import { frameHeaderBytes, readU32 } from '../tunnel/frame.ts';
import { defaultLimits } from '../tunnel/limits.ts';
import { applyMask } from './mask.ts';
import {
  headerBytesOf,
  maxControlPayloadBytes,
  maxMessageHeaderBytes,
  Opcode,
} from './message-header.ts';

/**
 * Which end of the connection we are: a server requires masked frames, a client refuses them (RFC
 * 6455, section 5.1).
 */
export type WebSocketRole = 'client' | 'server';

/**
 * Receives the messages of a `MessageParser`. All bytes are borrowed: valid until the method
 * returns.
 */
export interface MessageHandler {
  /**
   * A piece of a binary message, as it came. `ends`: the message ends with it; only then may it be
   * empty.
   */
  onBinary(piece: Uint8Array, ends: boolean): void;
  /** The keep-alive texts are the only text messages of culvert.v1. */
  onText(text: 'ping' | 'pong'): void;
  onPing(payload: Uint8Array): void;
  onPong(): void;
  /** The peer's last frame. Bytes behind it are ignored. No code: the frame has none. */
  onCloseFrame(code: number | undefined, reason: string): void;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Parses the frames of RFC 6455 without waiting for whole messages: each read is handed on at once,
 * unmasked in place. After an error it ignores all further bytes.
 */
export class MessageParser {
  readonly #handler: MessageHandler;
  readonly #masked: boolean;
  readonly #maxMessageBytes: number;
  #spent = false;

  /**
   * A header that a read cut in two. It is made when that happens, so that an idle link has none.
   */
  #header: Uint8Array | undefined;
  #headerBytes = 0;

  #inFrame = false;
  #final = false;
  #opcode: Opcode = Opcode.binary;
  #key = 0;
  #leftBytes = 0;
  /** Position in the frame's payload. */
  #offset = 0;

  /** Of a message whose last fragment has not come: binary or text. */
  #message: typeof Opcode.binary | typeof Opcode.text | undefined;
  #messageBytes = 0;

  // Two, because a ping may come between the fragments of a text.
  #control: Uint8Array | undefined;
  #text: Uint8Array | undefined;
  #textBytes = 0;

  /**
   * @param maxDataFrameBytes payload of the largest frame accepted (default
   * `defaultLimits.maxDataFrameBytes`)
   */
  constructor(
    role: WebSocketRole,
    handler: MessageHandler,
    maxDataFrameBytes = defaultLimits.maxDataFrameBytes,
  ) {
    this.#handler = handler;
    this.#masked = role === 'server';
    this.#maxMessageBytes = maxDataFrameBytes + frameHeaderBytes;
  }

  /**
   * Takes the next bytes of the connection, which it may change (unmasking).
   *
   * @throws TunnelError `protocol_error`, `frame_too_large`, or an error of the handler
   */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.#spent) {
      try {
        at = this.#inFrame ? this.#takePayload(bytes, at) : this.#takeHeader(bytes, at);
      } catch (thrown) {
        this.#spent = true;
        throw thrown;
      }
    }
  }

  #takeHeader(bytes: Uint8Array, from: number): number {
    if (this.#headerBytes === 0 && bytes.length - from >= 2) {
      const end = from + headerBytesOf(bytes[from + 1]!);
      if (end <= bytes.length) {
        this.#beginFrame(bytes, from);
        return end;
      }
    }
    let at = from;
    const header = (this.#header ??= new Uint8Array(maxMessageHeaderBytes));
    while (at < bytes.length) {
      header[this.#headerBytes++] = bytes[at++]!;
      if (this.#headerBytes >= 2 && this.#headerBytes === headerBytesOf(header[1]!)) {
        this.#headerBytes = 0;
        this.#beginFrame(header, 0);
        break;
      }
    }
    return at;
  }

  #beginFrame(header: Uint8Array, at: number): void {
    const first = header[at]!;
    const second = header[at + 1]!;
    if ((first & 0x70) !== 0) throw broken('a frame has reserved bits set');
    this.#final = (first & 0x80) !== 0;
    this.#opcode = knownOpcode(first & 0x0f);
    const masked = (second & 0x80) !== 0;
    if (masked !== this.#masked) {
      throw broken(masked ? 'a server sent a masked frame' : 'a client sent an unmasked frame');
    }
    let length = second & 0x7f;
    let next = at + 2;
    if (length === 126) {
      length = (header[next]! << 8) | header[next + 1]!;
      next += 2;
    } else if (length === 127) {
      length = readU32(header, next) * 2 ** 32 + readU32(header, next + 4);
      next += 8;
    }
    this.#checkLength(length);
    this.#key = masked
      ? header[next]! |
        (header[next + 1]! << 8) |
        (header[next + 2]! << 16) |
        (header[next + 3]! << 24)
      : 0;
    this.#leftBytes = length;
    this.#offset = 0;
    if (length === 0) this.#endFrame(header.subarray(0, 0));
    else this.#inFrame = true;
  }

  /** Checks that a frame of this kind and length is allowed now. */
  #checkLength(length: number): void {
    const opcode = this.#opcode;
    if (opcode >= Opcode.close) {
      if (!this.#final) throw broken('a control frame is fragmented');
      if (length > maxControlPayloadBytes) throw broken(`a control frame has ${length} bytes`);
      return;
    }
    if (opcode === Opcode.continuation) {
      if (this.#message === undefined) throw broken('a continuation continues nothing');
    } else {
      if (this.#message !== undefined) throw broken('a message began inside another');
      this.#message = opcode === Opcode.text ? Opcode.text : Opcode.binary;
      this.#messageBytes = 0;
      this.#textBytes = 0;
    }
    this.#messageBytes += length;
    if (this.#message === Opcode.text && this.#messageBytes > maxControlPayloadBytes) {
      throw broken('a text message is longer than any that culvert.v1 has');
    }
    if (this.#messageBytes > this.#maxMessageBytes) {
      const message = `message of ${this.#messageBytes} bytes is longer than the ${this.#maxMessageBytes} that are allowed`;
      throw new TunnelError('frame_too_large', message);
    }
  }

  #takePayload(bytes: Uint8Array, from: number): number {
    const end = Math.min(bytes.length, from + this.#leftBytes);
    if (this.#key !== 0) applyMask(bytes, from, end, this.#key, this.#offset);
    const piece = from === 0 && end === bytes.length ? bytes : bytes.subarray(from, end);
    this.#leftBytes -= end - from;
    if (this.#leftBytes === 0) this.#endFrame(piece);
    else this.#continueFrame(piece);
    this.#offset += end - from;
    return end;
  }

  #continueFrame(piece: Uint8Array): void {
    if (this.#opcode >= Opcode.close) this.#keepControl(piece);
    else if (this.#message === Opcode.text) this.#keepText(piece);
    else this.#handler.onBinary(piece, false);
  }

  /** @param piece the last bytes of the frame's payload, empty when it has none */
  #endFrame(piece: Uint8Array): void {
    this.#inFrame = false;
    if (this.#opcode >= Opcode.close) {
      this.#endControl(piece);
      return;
    }
    const final = this.#final;
    const text = this.#message === Opcode.text;
    if (final) this.#message = undefined;
    if (text) {
      if (final) this.#endText(piece);
      else this.#keepText(piece);
    } else if (final || piece.length > 0) {
      this.#handler.onBinary(piece, final);
    }
  }

  #keepControl(piece: Uint8Array): void {
    this.#control ??= new Uint8Array(maxControlPayloadBytes);
    this.#control.set(piece, this.#offset);
  }

  #keepText(piece: Uint8Array): void {
    this.#text ??= new Uint8Array(maxControlPayloadBytes);
    this.#text.set(piece, this.#textBytes);
    this.#textBytes += piece.length;
  }

  #endText(piece: Uint8Array): void {
    let bytes = piece;
    if (this.#textBytes > 0) {
      this.#keepText(piece);
      bytes = this.#text!.subarray(0, this.#textBytes);
      this.#text = undefined;
    }
    const text = decodeUtf8(bytes);
    if (text !== 'ping' && text !== 'pong') throw broken('culvert.v1 has no such text message');
    this.#handler.onText(text);
  }

  #endControl(piece: Uint8Array): void {
    let payload = piece;
    if (this.#offset > 0) {
      this.#keepControl(piece);
      payload = this.#control!.subarray(0, this.#offset + piece.length);
      this.#control = undefined;
    }
    if (this.#opcode === Opcode.ping) this.#handler.onPing(payload);
    else if (this.#opcode === Opcode.pong) this.#handler.onPong();
    else this.#endConnection(payload);
  }

  #endConnection(payload: Uint8Array): void {
    this.#spent = true;
    if (payload.length === 1) throw broken('a close frame has half a code');
    const code = payload.length === 0 ? undefined : (payload[0]! << 8) | payload[1]!;
    if (code !== undefined && !isCloseCode(code)) throw broken(`${code} is no close code`);
    this.#handler.onCloseFrame(code, decodeUtf8(payload.subarray(2)));
  }
}

function broken(message: string): TunnelError {
  return new TunnelError('protocol_error', message);
}

function knownOpcode(opcode: number): Opcode {
  if (opcode <= Opcode.binary || (opcode >= Opcode.close && opcode <= Opcode.pong)) {
    return opcode as Opcode;
  }
  throw broken(`a frame has the unknown opcode ${opcode}`);
}

/** The codes that are allowed in a close frame (RFC 6455, section 7.4, and the IANA registry). */
function isCloseCode(code: number): boolean {
  if (code >= 3000) return code < 5000;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new TunnelError('protocol_error', 'a text is not UTF-8', { cause });
  }
}
