import { TunnelError } from './errors.ts';
import { checkFrameHeader, frameHeaderBytes, frameName, FrameType, readU32 } from './frame.ts';
import { defaultLimits, type TunnelLimits } from './limits.ts';
import type { LinkOwner } from './link.ts';

export type FrameLimits = Pick<TunnelLimits, 'maxControlBytes' | 'maxDataFrameBytes'>;

const firstControlBytes = 256;

/**
 * Turns the bytes of messages, one frame per message, into calls of a link's owner. The bytes may
 * arrive in any pieces: a DATA payload is passed on as it comes, any other payload once it is
 * whole. Bytes are borrowed in and out.
 *
 * After an error it cannot be used, because the rest of the bytes has no meaning, and the link must
 * close.
 */
export class FrameDecoder {
  readonly #owner: Pick<LinkOwner, 'onData' | 'onFrame'>;
  readonly #limits: FrameLimits;
  /** A header that came in pieces. It is made when that happens, so that an idle link has none. */
  #header: Uint8Array | undefined;
  #headerBytes = 0;
  #type: FrameType = FrameType.data;
  #session = 0;
  #stream = 0;
  #payloadBytes = 0;
  #control: Uint8Array | undefined;

  constructor(owner: Pick<LinkOwner, 'onData' | 'onFrame'>, limits: FrameLimits = defaultLimits) {
    this.#owner = owner;
    this.#limits = limits;
  }

  /**
   * Takes the next piece of the current message.
   *
   * @param ends the message ends with this piece; a control payload that is whole in it is then
   *   passed on without a copy
   * @throws TunnelError `protocol_error` not a frame of culvert.v1; `frame_too_large` over a limit
   */
  push(piece: Uint8Array, ends = false): void {
    let at = 0;
    if (this.#headerBytes < frameHeaderBytes) {
      at = this.#takeHeader(piece);
      if (this.#headerBytes < frameHeaderBytes) {
        if (ends) this.endMessage();
        return;
      }
    }
    const payload = at === 0 ? piece : piece.subarray(at);
    if (this.#type === FrameType.data) {
      this.#grow(payload.length, this.#limits.maxDataFrameBytes);
      const { length } = payload;
      if (ends) this.#headerBytes = 0;
      if (length > 0) this.#owner.onData(this.#session, this.#stream, payload);
    } else if (ends && this.#payloadBytes === 0) {
      this.#grow(payload.length, this.#limits.maxControlBytes);
      this.#headerBytes = 0;
      this.#owner.onFrame(this.#type, this.#session, this.#stream, payload);
    } else {
      this.#keep(payload);
      if (ends) this.endMessage();
    }
  }

  /**
   * The current message is complete. @throws TunnelError `protocol_error` it was too short to be a
   * frame
   */
  endMessage(): void {
    if (this.#headerBytes < frameHeaderBytes) {
      const message = `message of ${this.#headerBytes} bytes is shorter than a frame header (${frameHeaderBytes})`;
      throw new TunnelError('protocol_error', message);
    }
    this.#headerBytes = 0;
    if (this.#type === FrameType.data) return;
    const control = this.#control?.subarray(0, this.#payloadBytes) ?? new Uint8Array(0);
    this.#control = undefined;
    this.#owner.onFrame(this.#type, this.#session, this.#stream, control);
  }

  /** Takes header bytes from the front of `piece` and returns how many. */
  #takeHeader(piece: Uint8Array): number {
    let header = piece;
    let taken = frameHeaderBytes;
    if (this.#headerBytes > 0 || piece.length < frameHeaderBytes) {
      taken = Math.min(frameHeaderBytes - this.#headerBytes, piece.length);
      header = this.#header ??= new Uint8Array(frameHeaderBytes);
      header.set(piece.subarray(0, taken), this.#headerBytes);
      this.#headerBytes += taken;
      if (this.#headerBytes < frameHeaderBytes) return taken;
    }
    this.#headerBytes = frameHeaderBytes;
    this.#type = checkFrameHeader(header, 0);
    this.#session = readU32(header, 4);
    this.#stream = readU32(header, 8);
    this.#payloadBytes = 0;
    return taken;
  }

  #grow(byBytes: number, limitBytes: number): void {
    this.#payloadBytes += byBytes;
    if (this.#payloadBytes <= limitBytes) return;
    const message = `${frameName(this.#type)} frame has more than the ${limitBytes} bytes of payload that are allowed`;
    throw new TunnelError('frame_too_large', message);
  }

  /**
   * Copies a part of a control payload. Memory follows what arrived, never what a peer announces.
   */
  #keep(part: Uint8Array): void {
    const keptBytes = this.#payloadBytes;
    this.#grow(part.length, this.#limits.maxControlBytes);
    let control = this.#control;
    if (control === undefined || control.length < this.#payloadBytes) {
      const wantedBytes = Math.max(this.#payloadBytes, 2 * keptBytes, firstControlBytes);
      const larger = new Uint8Array(Math.min(wantedBytes, this.#limits.maxControlBytes));
      if (control !== undefined) larger.set(control.subarray(0, keptBytes));
      control = this.#control = larger;
    }
    control.set(part, keptBytes);
  }
}
