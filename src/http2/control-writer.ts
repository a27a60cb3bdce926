import {
  defaultWindowBytes,
  FrameFlag,
  FrameType,
  Setting,
  writeFrameHeader,
  writeUint32,
} from './frame.ts';
import { type Http2ErrorCode, http2ErrorCodes } from './http2-error.ts';
import type { Http2Limits } from './http2-limits.ts';
import type { Http2Output } from './http2-output.ts';

const noBytes = new Uint8Array(0);

/** Writes frames that are not subject to flow control. They are sent at the end of the turn. */
export class ControlWriter {
  readonly #output: Http2Output;
  readonly #word = new Uint8Array(4);

  constructor(output: Http2Output) {
    this.#output = output;
  }

  /** Our first frames: SETTINGS, and the window of the connection. */
  begin(limits: Http2Limits, allowsExtendedConnect: boolean, windowBytes: number): void {
    const settings: (readonly [number, number])[] = [
      [Setting.headerTableSize, limits.maxHeaderTableBytes],
      [Setting.maxConcurrentStreams, limits.maxStreams],
      [Setting.initialWindowSize, limits.windowBytes],
      [Setting.maxFrameSize, limits.maxFrameBytes],
      [Setting.maxHeaderListSize, limits.maxHeaderListBytes],
    ];
    if (allowsExtendedConnect) settings.push([Setting.enableConnectProtocol, 1]);
    const payload = new Uint8Array(6 * settings.length);
    settings.forEach(([setting, value], index) => {
      payload[6 * index + 1] = setting;
      writeUint32(payload, 6 * index + 2, value);
    });
    this.#frame(FrameType.settings, 0, 0, payload);
    this.windowUpdate(0, windowBytes - defaultWindowBytes);
  }

  settingsAck(): void {
    this.#frame(FrameType.settings, FrameFlag.ack, 0, noBytes);
  }

  windowUpdate(streamId: number, increment: number): void {
    this.#frameOfWord(FrameType.windowUpdate, streamId, increment);
  }

  rstStream(streamId: number, code: Http2ErrorCode): void {
    this.#frameOfWord(FrameType.rstStream, streamId, http2ErrorCodes[code]);
  }

  /** @param payload eight bytes */
  ping(payload: Uint8Array, isAck: boolean): void {
    this.#frame(FrameType.ping, isAck ? FrameFlag.ack : 0, 0, payload);
  }

  goAway(lastStreamId: number, code: Http2ErrorCode, debug: string): void {
    const text = Buffer.from(debug, 'latin1');
    const payload = Buffer.alloc(8 + text.length);
    payload.writeUInt32BE(lastStreamId, 0);
    payload.writeUInt32BE(http2ErrorCodes[code], 4);
    text.copy(payload, 8);
    this.#frame(FrameType.goAway, 0, 0, payload);
  }

  /**
   * A header block of ours, cut to the client's largest frame.
   *
   * @param block encoded with HPACK
   */
  headers(streamId: number, block: Uint8Array, isEnd: boolean, maxFrameBytes: number): void {
    const endStream = isEnd ? FrameFlag.endStream : 0;
    if (block.length <= maxFrameBytes) {
      this.#frame(FrameType.headers, FrameFlag.endHeaders | endStream, streamId, block);
      return;
    }
    this.#frame(FrameType.headers, endStream, streamId, block.subarray(0, maxFrameBytes));
    for (let at = maxFrameBytes; at < block.length; at += maxFrameBytes) {
      const piece = block.subarray(at, at + maxFrameBytes);
      const flags = at + maxFrameBytes >= block.length ? FrameFlag.endHeaders : 0;
      this.#frame(FrameType.continuation, flags, streamId, piece);
    }
  }

  #frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    const { output } = this.#output;
    writeFrameHeader(output, payload.length, type, flags, streamId);
    output.copy(payload, 0, payload.length);
    this.#output.planTurn();
  }

  #frameOfWord(type: number, streamId: number, value: number): void {
    writeUint32(this.#word, 0, value);
    this.#frame(type, 0, streamId, this.#word);
  }
}
