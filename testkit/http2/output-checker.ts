import {
  clientPreface,
  frameFlags,
  FrameSplitter,
  frameTypes,
  settingIds,
  type WireFrame,
} from './frames.ts';

/** Checks what the server sends. */
export class OutputChecker {
  last: WireFrame | undefined;
  /** Whether the client keeps to the rules, so that its windows are known. */
  #knowsWindows = false;
  #initialBytes = 65_535;
  /** What the client allows each stream beyond the initial window, and the connection (0). */
  readonly #grantedBytes = new Map<number, number>([[0, 65_535]]);
  readonly #sentBytes = new Map<number, number>();
  readonly #begun = new Set<number>();
  readonly #ended = new Set<number>();

  /** A valid client has sent a part of this frame at least. */
  grant(bytes: Buffer): void {
    this.#knowsWindows = true;
    if (bytes === clientPreface) return;
    for (const { type, flags, stream, payload } of new FrameSplitter().push(bytes)) {
      if (type === frameTypes.windowUpdate) {
        const before = this.#grantedBytes.get(stream) ?? 0;
        this.#grantedBytes.set(stream, before + payload.readUInt32BE());
      }
      if (type !== frameTypes.settings || (flags & frameFlags.ack) !== 0) continue;
      for (let at = 0; at < payload.length; at += 6) {
        if (payload.readUInt16BE(at) !== settingIds.initialWindowSize) continue;
        // A smaller window may reach the server later than its DATA reaches us.
        this.#initialBytes = Math.max(this.#initialBytes, payload.readUInt32BE(at + 2));
      }
    }
  }

  check(frame: WireFrame): void {
    const { type, flags, stream } = frame;
    if (this.last === undefined && type !== frameTypes.settings) {
      throw new Error('the server does not begin with SETTINGS');
    }
    this.last = frame;
    if (type === frameTypes.reset) {
      this.#ended.add(stream);
      return;
    }
    if (type !== frameTypes.data && type !== frameTypes.headers) return;
    if (stream % 2 === 0) throw new Error(`a frame of type ${type} for stream ${stream}`);
    if (this.#ended.has(stream)) throw new Error(`a frame after the end of stream ${stream}`);
    if (type === frameTypes.data && !this.#begun.has(stream))
      throw new Error('DATA without a head');
    if (type === frameTypes.data) this.#checkWindows(stream, frame.payload.length);
    this.#begun.add(stream);
    if ((flags & frameFlags.endStream) !== 0) this.#ended.add(stream);
  }

  #checkWindows(stream: number, bytes: number): void {
    for (const key of [0, stream]) {
      const sentBytes = (this.#sentBytes.get(key) ?? 0) + bytes;
      this.#sentBytes.set(key, sentBytes);
      const initialBytes = key === 0 ? 0 : this.#initialBytes;
      const allowedBytes = initialBytes + (this.#grantedBytes.get(key) ?? 0);
      if (this.#knowsWindows && sentBytes > allowedBytes) {
        throw new Error(`${sentBytes} bytes of DATA for stream ${key}, allowed: ${allowedBytes}`);
      }
    }
  }
}
