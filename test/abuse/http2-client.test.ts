import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { request } from '../konnectivity-bridge/wire.ts';
import type { World } from '../../testkit/world/world.ts';
import { costOfAttack } from './attack-cost.ts';
import { type AbusedWorld, startAbusedWorld } from '../../testkit/world/abused-world.ts';

const mib = 1024 * 1024;
/** Calls that are reset at once leave up to 100 MiB of garbage for a moment. */
const maxGrownBytes = 160 * mib;
const stuckMs = 10_000;

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const frameType = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6 } as const;
const initialWindowSize = 4;
const endHeaders = 0x4;

let abused: AbusedWorld;
let world: World;

beforeAll(async () => {
  abused = await startAbusedWorld();
  ({ world } = abused);
});
beforeEach(() => abused.dialHonestly());
afterAll(() => abused?.[Symbol.asyncDispose]());

/** A frame of RFC 9113, section 4.1. */
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function literal(text: string): Buffer {
  return Buffer.concat([Buffer.of(text.length), Buffer.from(text)]);
}

/** The head of a call, in HPACK (RFC 7541) without Huffman codes and without its table of headers. */
const callHead = Buffer.concat([
  // :method POST and :scheme http of the static table; then :path, :authority and content-type with names of it.
  Buffer.of(0x83, 0x86, 0x04),
  literal('/ProxyService/Proxy'),
  Buffer.of(0x01),
  literal('front.test'),
  Buffer.of(0x0f, 0x10),
  literal('application/grpc'),
  Buffer.of(0x00),
  literal('te'),
  literal('trailers'),
]);

const ping = frame(frameType.ping, 0, 0, new Uint8Array(8));
const settings = frame(frameType.settings, 0, 0, new Uint8Array(0));
/** The window does not let the server send a byte of any call. */
const noWindow = frame(frameType.settings, 0, 0, Buffer.of(0, initialWindowSize, 0, 0, 0, 0));

/** A client that never reads after its preface. */
class SilentReader implements Disposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
  }

  static async open(first: Uint8Array = settings): Promise<SilentReader> {
    const { hostname: host, port } = new URL(`tcp://${world.front.address}`);
    const socket = connect({ host, port: Number(port) });
    await once(socket, 'connect');
    socket.write(Buffer.concat([preface, first]));
    return new SilentReader(socket);
  }

  /** Repeats these bytes until the other end closes the connection or stops reading. */
  async flood(times: number, bytes: (at: number) => Uint8Array): Promise<void> {
    for (let at = 0; at < times; at++) {
      if (this.#socket.destroyed) return;
      if (this.#socket.write(bytes(at))) continue;
      const taken = await Promise.race([
        once(this.#socket, 'drain').then(() => true),
        once(this.#socket, 'close').then(() => false),
        sleep(stuckMs, false, { ref: false }),
      ]).catch(() => false);
      if (!taken) return;
    }
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

async function expectNoHarm(attack: () => Promise<unknown>): Promise<void> {
  const cost = await costOfAttack(world.bridge, attack, abused.probe);
  expect(cost.failedProbes).toEqual([]);
  expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
}

/** Many times the same frames in one write. */
function many(count: number, bytes: Uint8Array): Buffer {
  return Buffer.concat(Array<Uint8Array>(count).fill(bytes));
}

describe('A konnectivity client that never reads', { timeout: 90_000 }, () => {
  it('A konnectivity client that never reads fills no memory with PINGs', async () => {
    using reader = await SilentReader.open();
    const batch = many(5000, ping);
    await expectNoHarm(() => reader.flood(1000, () => batch));
  });

  it('A konnectivity client that never reads fills no memory with SETTINGS', async () => {
    using reader = await SilentReader.open();
    const batch = many(5000, settings);
    await expectNoHarm(() => reader.flood(1000, () => batch));
  });

  it('A konnectivity client that never reads fills no memory with calls that it resets at once', async () => {
    using reader = await SilentReader.open();
    const reset = Buffer.of(0, 0, 0, 8);
    const calls = (batch: number) =>
      Buffer.concat(
        Array.from({ length: 100 }, (_, at) => {
          const stream = 2 * (100 * batch + at) + 1;
          const head = frame(frameType.headers, endHeaders, stream, callHead);
          return Buffer.concat([head, frame(frameType.reset, 0, stream, reset)]);
        }),
      );
    await expectNoHarm(() => reader.flood(2000, calls));
  });

  it('A konnectivity client that never reads fills no memory with packets of unknown connections, in thousands of calls', async () => {
    using reader = await SilentReader.open(noWindow);
    const close = request({ type: 'CLOSE_REQ', closeRequest: { connectID: '77' } });
    const packets = many(1000, close);
    const call = (at: number) => {
      const stream = 2 * at + 1;
      return Buffer.concat([
        frame(frameType.headers, endHeaders, stream, callHead),
        frame(frameType.data, 0, stream, packets.subarray(0, 16_000)),
      ]);
    };
    await expectNoHarm(() => reader.flood(4000, call));
  });
});
