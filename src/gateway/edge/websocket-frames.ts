import { GrowingBytes } from '../../base/growing-bytes.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { applyMask, randomMaskKey } from '../../websocket/mask.ts';
import {
  headerBytesOf,
  maxControlPayloadBytes,
  maxMessageHeaderBytes,
  messageHeaderBytes,
  Opcode,
  writeMessageHeader,
} from '../../websocket/message-header.ts';

/** The longest message of a server, in bytes. Messages of kubelets have 32 KiB. */
export const maxMessageBytes = 1024 * 1024;

/** Receives what a server sends over a WebSocket. All bytes are its own copies. */
export interface FrameSink {
  onMessage(message: string | Uint8Array<ArrayBuffer>): void;
  onPing(payload: Uint8Array): void;
  /** The last frame. No code: the frame has none. */
  onCloseFrame(code: number | undefined, reason: string): void;
}

/**
 * Reads the frames of a WebSocket server (RFC 6455, section 5) and joins them to whole messages,
 * because the runtime sends messages and no frames.
 */
export class ServerFrames {
  readonly #sink: FrameSink;
  readonly #header = new Uint8Array(maxMessageHeaderBytes);
  #headerBytes = 0;
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #filledBytes = 0;
  #opcode = 0;
  #isFinal = false;
  /** The payloads so far of a message whose last frame has not come. */
  readonly #message = new GrowingBytes(maxMessageBytes);
  #messageOpcode: number | undefined;
  #isClosed = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws TunnelError `protocol_error`, `frame_too_large` */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && !this.#isClosed) {
      if (this.#payload === undefined) {
        this.#header[this.#headerBytes++] = bytes[at++]!;
        if (this.#headerBytes < 2 || this.#headerBytes < headerBytesOf(this.#header[1]!)) continue;
        this.#headerBytes = 0;
        this.#beginFrame();
      } else {
        const count = Math.min(this.#payload.length - this.#filledBytes, bytes.length - at);
        this.#payload.set(bytes.subarray(at, at + count), this.#filledBytes);
        this.#filledBytes += count;
        at += count;
      }
      if (this.#payload?.length === this.#filledBytes) this.#endFrame(this.#payload);
    }
  }

  #beginFrame(): void {
    const [first = 0, second = 0] = this.#header;
    if ((first & 0x70) !== 0) throw broken('a frame has reserved bits set');
    if ((second & 0x80) !== 0) throw broken('a server sent a masked frame');
    this.#isFinal = (first & 0x80) !== 0;
    this.#opcode = first & 0x0f;
    const view = new DataView(this.#header.buffer);
    const short = second & 0x7f;
    const length =
      short === 127
        ? view.getUint32(2) * 2 ** 32 + view.getUint32(6)
        : short === 126
          ? view.getUint16(2)
          : short;
    this.#checkFrame(length);
    this.#payload = new Uint8Array(length);
    this.#filledBytes = 0;
  }

  #checkFrame(length: number): void {
    const opcode = this.#opcode;
    if (opcode >= Opcode.close) {
      if (opcode > Opcode.pong) throw broken(`a frame has the unknown opcode ${opcode}`);
      if (!this.#isFinal || length > maxControlPayloadBytes) {
        throw broken('a control frame is too long or fragmented');
      }
      return;
    }
    if (opcode > Opcode.binary) throw broken(`a frame has the unknown opcode ${opcode}`);
    const continues = opcode === Opcode.continuation;
    if (continues !== (this.#messageOpcode !== undefined)) {
      throw broken('the fragments of a message are out of order');
    }
    if (!continues) this.#messageOpcode = opcode;
    if (this.#message.length + length > maxMessageBytes) {
      throw new TunnelError(
        'frame_too_large',
        `a message of the server has more than ${maxMessageBytes} bytes`,
      );
    }
  }

  #endFrame(payload: Uint8Array<ArrayBuffer>): void {
    this.#payload = undefined;
    switch (this.#opcode) {
      case Opcode.ping:
        return this.#sink.onPing(payload);
      case Opcode.pong:
        return;
      case Opcode.close:
        return this.#endConnection(payload);
      default:
    }
    if (!this.#isFinal) return this.#message.append(payload);
    const message = this.#joined(payload);
    const isText = this.#messageOpcode === Opcode.text;
    this.#messageOpcode = undefined;
    this.#sink.onMessage(isText ? decodeText(message) : message);
  }

  /** The whole message. @param last the payload of its last frame */
  #joined(last: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (this.#message.length === 0) return last;
    this.#message.append(last);
    return this.#message.take();
  }

  #endConnection(payload: Uint8Array): void {
    this.#isClosed = true;
    if (payload.length === 1) throw broken('a close frame has half a code');
    const code = payload.length === 0 ? undefined : (payload[0]! << 8) | payload[1]!;
    this.#sink.onCloseFrame(code, decodeText(payload.subarray(2)));
  }
}

/** A whole message of a client as one frame, masked with a key that no peer can predict. */
export function clientFrame(opcode: Opcode, payload: Uint8Array): Uint8Array {
  const start = messageHeaderBytes(payload.length, true);
  const frame = new Uint8Array(start + payload.length);
  const key = randomMaskKey();
  writeMessageHeader(frame, 0, opcode, payload.length, key);
  frame.set(payload, start);
  applyMask(frame, start, frame.length, key, 0);
  return frame;
}

/** The payload of a close frame. A code that says that there was none gives an empty payload. */
export function closeFramePayload(code: number, reason: string): Uint8Array {
  if (code === 1005 || code < 1000) return new Uint8Array();
  const text = new TextEncoder().encode(reason).subarray(0, maxControlPayloadBytes - 2);
  const payload = new Uint8Array(2 + text.length);
  payload.set([code >>> 8, code & 0xff]);
  payload.set(text, 2);
  return payload;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new TunnelError('protocol_error', 'a text of the server is not UTF-8', { cause });
  }
}

function broken(message: string): TunnelError {
  return new TunnelError('protocol_error', message);
}
