/** HTTP/2 frames (RFC 9113) as literal bytes, for tests. Nothing here is checked. */

export const clientPreface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const frameTypes = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  reset: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const frameFlags = {
  ack: 0x1,
  endStream: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const;

export const settingIds = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
} as const;

export const headBytes = 9;

/** A frame as it was on the wire. */
export interface WireFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A frame of section 4.1, with any type, flags and stream. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Buffer {
  const bytes = Buffer.alloc(headBytes + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, headBytes);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function settings(entries: readonly (readonly [id: number, value: number])[] = []): Buffer {
  const payload = entries.map(([id, value]) => Buffer.concat([Buffer.of(0, id), uint32(value)]));
  return frame(frameTypes.settings, 0, 0, Buffer.concat(payload));
}

export const settingsAck = frame(frameTypes.settings, frameFlags.ack, 0);

export function ping(payload: Uint8Array = new Uint8Array(8)): Buffer {
  return frame(frameTypes.ping, 0, 0, payload);
}

export function windowUpdate(stream: number, bytes: number): Buffer {
  return frame(frameTypes.windowUpdate, 0, stream, uint32(bytes));
}

export function reset(stream: number, code = 0x8): Buffer {
  return frame(frameTypes.reset, 0, stream, uint32(code));
}

export function goaway(lastStream = 0, code = 0): Buffer {
  return frame(frameTypes.goaway, 0, 0, Buffer.concat([uint32(lastStream), uint32(code)]));
}

/** HEADERS with a complete header block. */
export function headers(stream: number, block: Uint8Array, flags = 0): Buffer {
  return frame(frameTypes.headers, flags | frameFlags.endHeaders, stream, block);
}

export function data(stream: number, payload: Uint8Array, flags = 0): Buffer {
  return frame(frameTypes.data, flags, stream, payload);
}

/** Cuts a byte stream into frames. */
export class FrameSplitter {
  #rest = Buffer.alloc(0);

  /** The frames that are complete with `bytes`. */
  push(bytes: Uint8Array): WireFrame[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const frames: WireFrame[] = [];
    for (;;) {
      if (this.#rest.length < headBytes) return frames;
      const end = headBytes + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < end) return frames;
      frames.push({
        type: this.#rest[3]!,
        flags: this.#rest[4]!,
        stream: this.#rest.readUInt32BE(5) & 0x7fff_ffff,
        payload: this.#rest.subarray(headBytes, end),
      });
      this.#rest = this.#rest.subarray(end);
    }
  }
}
