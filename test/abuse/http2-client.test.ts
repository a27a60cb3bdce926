import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { request } from '../konnectivity-bridge/wire.ts';
import type { World } from '../../testkit/world/world.ts';
import {
  clientPreface,
  data,
  frame,
  frameTypes,
  headers,
  ping,
  reset,
  settingIds,
  settings,
  windowUpdate,
} from '../../testkit/http2/frames.ts';
import { addedField, callHead, indexedField } from '../../testkit/http2/hpack-bytes.ts';
import { costOfAttack } from './attack-cost.ts';
import { type AbusedWorld, startAbusedWorld } from '../../testkit/world/abused-world.ts';

const mib = 1024 * 1024;
/** Calls that are reset at once leave up to 100 MiB of garbage for a moment. */
const maxGrownBytes = 160 * mib;
const stuckMs = 10_000;

/** The window does not let the server send a byte of any call. */
const noWindow = settings([[settingIds.initialWindowSize, 0]]);

let abused: AbusedWorld;
let world: World;

beforeAll(async () => {
  abused = await startAbusedWorld();
  ({ world } = abused);
});
beforeEach(() => abused.dialHonestly());
afterAll(() => abused?.[Symbol.asyncDispose]());

/** A client that never reads after its preface. */
class SilentReader implements Disposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
  }

  static async open(first: Uint8Array = settings()): Promise<SilentReader> {
    const { hostname: host, port } = new URL(`tcp://${world.front.address}`);
    const socket = connect({ host, port: Number(port) });
    await once(socket, 'connect');
    socket.write(Buffer.concat([clientPreface, first]));
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
    const batch = many(5000, ping());
    await expectNoHarm(() => reader.flood(1000, () => batch));
  });

  it('A konnectivity client that never reads fills no memory with SETTINGS', async () => {
    using reader = await SilentReader.open();
    const batch = many(5000, settings());
    await expectNoHarm(() => reader.flood(1000, () => batch));
  });

  it('A konnectivity client that never reads fills no memory with calls that it resets at once', async () => {
    using reader = await SilentReader.open();
    const calls = (batch: number) =>
      Buffer.concat(
        Array.from({ length: 100 }, (_, at) => {
          const stream = 2 * (100 * batch + at) + 1;
          return Buffer.concat([headers(stream, callHead), reset(stream)]);
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
      return Buffer.concat([headers(stream, callHead), data(stream, packets.subarray(0, 16_000))]);
    };
    await expectNoHarm(() => reader.flood(4000, call));
  });

  it('A konnectivity client that never reads fills no memory with CONTINUATIONs', async () => {
    using reader = await SilentReader.open();
    const begin = frame(frameTypes.headers, 0, 1, callHead);
    const batch = many(5000, frame(frameTypes.continuation, 0, 1));
    await expectNoHarm(() => reader.flood(1000, (at) => (at === 0 ? begin : batch)));
  });

  it('A konnectivity client that never reads fills no memory with HPACK bombs', async () => {
    using reader = await SilentReader.open();
    const bomb = Buffer.concat([callHead, addedField('bomb', 'x'.repeat(3900))]);
    const references = Buffer.concat([callHead, Buffer.alloc(16_000, indexedField(62))]);
    const call = (at: number) => headers(2 * at + 1, at === 0 ? bomb : references);
    await expectNoHarm(() => reader.flood(4000, call));
  });

  it('A konnectivity client that never reads harms no other with empty DATA, priorities and tiny windows', async () => {
    using reader = await SilentReader.open();
    const priority = frame(frameTypes.priority, 0, 3, Buffer.of(0, 0, 0, 0, 16));
    const round = Buffer.concat([data(1, Buffer.alloc(0)), priority, windowUpdate(1, 1)]);
    const batch = many(2000, round);
    const begin = headers(1, callHead);
    await expectNoHarm(() => reader.flood(1000, (at) => (at === 0 ? begin : batch)));
  });
});
