import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BusyWindows } from '../../src/http2/busy-windows.ts';
import {
  data,
  frameFlags,
  frameTypes,
  headers,
  reset,
  settingIds,
  type WireFrame,
} from '../../testkit/http2/frames.ts';
import { callHead } from '../../testkit/http2/hpack-bytes.ts';
import { ScriptedConnection } from '../../testkit/http2/scripted-connection.ts';

const windowBytes = 100_000;
const busyWindowBytes = 400_000;
const pieceBytes = 10_000;

/** A client that keeps to its windows, with a connection for each of its streams. */
class Uploads {
  readonly #connections: ScriptedConnection[];
  /** What each client may send, for its stream and for its connection. */
  readonly #left: { stream: number; connection: number }[];

  #resets = 0;

  constructor(count: number, maxBusyWindows = 64) {
    const busyWindows = new BusyWindows({ windowBytes, busyWindowBytes, maxBusyWindows });
    const options = { limits: { windowBytes }, busyWindows };
    this.#connections = Array.from({ length: count }, () => ScriptedConnection.ready(options));
    this.#left = this.#connections.map(() => ({ stream: 0, connection: 65_535 }));
    for (const [at, connection] of this.#connections.entries()) {
      this.#receive(at, connection.frames);
      connection.push(headers(1, callHead, frameFlags.endHeaders));
    }
  }

  /** The server took something for too many bytes. */
  get isRefused(): boolean {
    return this.#resets > 0 || this.#connections.some(({ failed }) => failed !== undefined);
  }

  /** Sends a piece as far as the windows allow. */
  send(at: number): void {
    const left = this.#left[at]!;
    const bytes = Math.min(pieceBytes, left.stream, left.connection);
    left.stream -= bytes;
    left.connection -= bytes;
    if (bytes > 0) this.#connections[at]!.push(data(1, Buffer.alloc(bytes)));
    this.#receive(at, this.#connections[at]!.read());
  }

  /** Sends `bytes` in pieces. */
  upload(at: number, bytes: number): void {
    for (let sent = 0; sent < bytes; sent += pieceBytes) this.send(at);
  }

  end(at: number): void {
    this.#connections[at]!.push(reset(1));
    this.#left[at]!.stream = 0;
  }

  /** What the client may send for its stream. */
  leftBytes(at: number): number {
    return this.#left[at]!.stream;
  }

  #receive(at: number, frames: readonly WireFrame[]): void {
    const left = this.#left[at]!;
    for (const { type, flags, stream, payload } of frames) {
      if (type === frameTypes.settings && (flags & frameFlags.ack) === 0) {
        for (let entry = 0; entry < payload.length; entry += 6) {
          if (payload.readUInt16BE(entry) === settingIds.initialWindowSize) {
            left.stream += payload.readUInt32BE(entry + 2);
          }
        }
      } else if (type === frameTypes.windowUpdate) {
        left[stream === 0 ? 'connection' : 'stream'] += payload.readUInt32BE(0);
      }
      this.#resets += type === frameTypes.reset ? 1 : 0;
    }
  }
}

describe('The windows of busy streams', () => {
  it('A stream that sends alone gets a larger window', () => {
    const uploads = new Uploads(1);
    expect(uploads.leftBytes(0)).toBe(windowBytes);
    uploads.upload(0, 2 * windowBytes);
    uploads.upload(0, busyWindowBytes / 2);
    expect(uploads.leftBytes(0)).toBeGreaterThan(busyWindowBytes / 2);
    expect(uploads.leftBytes(0)).toBeLessThanOrEqual(busyWindowBytes);
  });

  it('Streams keep the usual window while more than four share the listener', () => {
    const uploads = new Uploads(8);
    for (let round = 0; round < 200; round++) {
      for (let at = 0; at < 8; at++) uploads.send(at);
    }
    for (let at = 0; at < 8; at++) expect(uploads.leftBytes(at)).toBeLessThanOrEqual(windowBytes);
  });

  it('A larger window shrinks when others become busy', () => {
    const uploads = new Uploads(8);
    uploads.upload(0, 2_000_000);
    expect(uploads.leftBytes(0)).toBeGreaterThan(windowBytes);
    for (let round = 0; round < 200; round++) {
      for (let at = 0; at < 8; at++) uploads.send(at);
    }
    expect(uploads.leftBytes(0)).toBeLessThanOrEqual(windowBytes);
  });

  it('No more streams than the limit have a larger window, also if they fall silent, until they end', () => {
    const uploads = new Uploads(3, 2);
    for (const at of [0, 1, 2]) uploads.upload(at, 2_000_000);
    expect([0, 1, 2].map((at) => uploads.leftBytes(at) > windowBytes)).toEqual([true, true, false]);
    uploads.end(0);
    uploads.upload(2, 2_000_000);
    expect(uploads.leftBytes(2)).toBeGreaterThan(windowBytes);
  });

  it('Clients that keep to their windows are never refused, and together have no more than the limits allow', () => {
    const actions = fc.array(
      fc.record({
        at: fc.integer({ min: 0, max: 5 }),
        bytes: fc.integer({ min: 1, max: 1_000_000 }),
      }),
      { minLength: 1, maxLength: 40 },
    );
    fc.assert(
      fc.property(actions, fc.integer({ min: 0, max: 3 }), (uploaded, maxBusyWindows) => {
        const uploads = new Uploads(6, maxBusyWindows);
        for (const { at, bytes } of uploaded) {
          uploads.upload(at, bytes);
          const lefts = [0, 1, 2, 3, 4, 5].map((client) => uploads.leftBytes(client));
          const large = lefts.filter((left) => left > windowBytes);
          expect(large.length).toBeLessThanOrEqual(maxBusyWindows);
          expect(Math.max(...lefts)).toBeLessThanOrEqual(busyWindowBytes);
          expect(uploads.isRefused).toBe(false);
        }
      }),
      { numRuns: 100 },
    );
  });
});
