import { frameHeaderBytes, writeFrameHeader, type FrameType } from '../tunnel/frame.ts';
import { applyMask, randomMaskKey } from './mask.ts';
import {
  maxMessageHeaderBytes,
  messageHeaderBytes,
  Opcode,
  writeMessageHeader,
} from './message-header.ts';
import type { WebSocketRole } from './message-parser.ts';
import type { SocketOutput } from '../base/net/socket-output.ts';

/** Writes WebSocket messages into the output of a socket, masked if this end is the client. */
export class MessageWriter {
  /** Frames that were written, and the bytes of their messages. */
  frames = 0;
  bytes = 0;
  readonly #output: SocketOutput;
  readonly #isMasked: boolean;
  readonly #isMaskRandom: boolean;

  /**
   * @param isTls masks protect proxies on the way from payloads that look like HTTP (RFC 6455,
   *   section 10.3). No proxy sees payloads inside TLS, so there the key is zero, which costs
   *   neither end anything
   */
  constructor(output: SocketOutput, role: WebSocketRole, isTls: boolean) {
    this.#output = output;
    this.#isMasked = role === 'client';
    this.#isMaskRandom = this.#isMasked && !isTls;
  }

  /** Copies a frame, which has its header already. */
  frame(bytes: Uint8Array, start: number, end: number): void {
    const key = this.#begin(Opcode.binary, end - start, 0);
    this.#copy(bytes, start, end, key, 0);
    this.#countFrame(end - start);
  }

  /** Copies a frame whose header is not written yet. */
  frameOf(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    const bytes = frameHeaderBytes + payload.length;
    const key = this.#begin(Opcode.binary, bytes, frameHeaderBytes);
    const at = this.#output.reserve(frameHeaderBytes);
    const into = this.#output.slabBytes;
    writeFrameHeader(into, at, type, session, stream);
    applyMask(into, at, at + frameHeaderBytes, key, 0);
    this.#output.fill(frameHeaderBytes);
    this.#copy(payload, 0, payload.length, key, frameHeaderBytes);
    this.#countFrame(bytes);
  }

  /** Copies a message that is no frame: keep-alive, or the closing handshake. */
  control(opcode: Opcode, payload: Uint8Array): void {
    const key = this.#begin(opcode, payload.length, 0);
    this.#copy(payload, 0, payload.length, key, 0);
  }

  /** Copies bytes, masked with `key` (0: as they are); `offset` as in `applyMask`. */
  #copy(from: Uint8Array, start: number, end: number, key: number, offset: number): void {
    for (let at = start; at < end;) {
      const position = this.#output.reserve(1);
      const count = this.#output.copyPiece(from, at, end);
      applyMask(this.#output.slabBytes, position, position + count, key, offset + at - start);
      at += count;
    }
  }

  #countFrame(bytes: number): void {
    this.frames++;
    this.bytes += messageHeaderBytes(bytes, this.#isMasked) + bytes;
  }

  /**
   * Writes the header of a message and returns the key of its mask. `more` bytes after it stay in
   * the same piece.
   */
  #begin(opcode: Opcode, payloadBytes: number, more: number): number {
    const key = this.#isMaskRandom ? randomMaskKey() : 0;
    const at = this.#output.reserve(maxMessageHeaderBytes + more);
    const into = this.#output.slabBytes;
    writeMessageHeader(into, at, opcode, payloadBytes, this.#isMasked ? key : undefined);
    this.#output.fill(messageHeaderBytes(payloadBytes, this.#isMasked));
    return key;
  }
}
