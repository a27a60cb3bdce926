import type { Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { type SenderOwner, SocketSender } from '../../../src/base/net/socket-sender.ts';

afterEach(() => vi.restoreAllMocks());

const roomBytes = 256 * 1024;

/** A socket that takes what is written when the test says so. */
class ScriptedSocket {
  readonly writes: number[] = [];
  writableLength = 0;
  #taken: (() => void)[] = [];
  readonly #takesAtOnce: boolean;

  constructor(takesAtOnce: boolean) {
    this.#takesAtOnce = takesAtOnce;
  }

  write(bytes: Uint8Array, onTaken: () => void): void {
    this.writes.push(bytes.length);
    if (this.#takesAtOnce) return;
    this.writableLength += bytes.length;
    this.#taken.push(onTaken);
  }

  cork(): void {}
  uncork(): void {}

  takeAll(): void {
    const taken = this.#taken;
    this.#taken = [];
    this.writableLength = 0;
    for (const onTaken of taken) onTaken();
  }
}

/** An owner that sends its bytes in pieces, as far as there is room. */
class ScriptedOwner implements SenderOwner {
  canPull = true;
  pulls = 0;
  leftBytes = 0;
  pieceBytes = 1;
  /** Called in the middle of each pull. */
  whilePulling = (): void => {};
  readonly socket: ScriptedSocket;
  readonly sender: SocketSender;

  constructor(socket: ScriptedSocket) {
    this.socket = socket;
    this.sender = new SocketSender(socket as unknown as Socket, this);
  }

  /** The owner has so many bytes. */
  offer(bytes: number): void {
    this.leftBytes += bytes;
    this.sender.wake();
  }

  pull(): void {
    this.pulls++;
    while (this.leftBytes > 0 && this.sender.room > 0) {
      const count = Math.min(this.pieceBytes, this.leftBytes);
      this.leftBytes -= count;
      this.sender.output.copy(new Uint8Array(count), 0, count);
      this.sender.written();
    }
    this.whilePulling();
  }

  onDrained(): void {}
}

/** Runs turns of the event loop until the sender plans no more. Returns how many it planned. */
async function turnsUntilRest(limit = 50): Promise<number> {
  const planned = vi.spyOn(globalThis, 'setImmediate');
  let turns = 0;
  for (; turns < limit; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    // One call is that of this loop.
    if (planned.mock.calls.length === 1) break;
    planned.mockClear();
  }
  planned.mockRestore();
  return turns;
}

it.each([true, false])(
  'A small message takes one turn (the socket takes it at once: %s)',
  async (takesAtOnce) => {
    const owner = new ScriptedOwner(new ScriptedSocket(takesAtOnce));
    owner.offer(1);
    expect(await turnsUntilRest()).toBe(0);
    expect([owner.socket.writes, owner.pulls]).toEqual([[1], 1]);
    owner.socket.takeAll();
    expect(await turnsUntilRest()).toBe(0);
    expect(owner.pulls).toBe(1);
  },
);

it('A socket that takes everything at once gets all bytes, at most a part of them in each turn', async () => {
  const owner = new ScriptedOwner(new ScriptedSocket(true));
  owner.pieceBytes = 16 * 1024;
  owner.offer(4 * roomBytes);
  const turns = await turnsUntilRest();
  expect(owner.leftBytes).toBe(0);
  expect(owner.socket.writes.reduce((sum, bytes) => sum + bytes)).toBe(4 * roomBytes);
  expect(turns).toBeGreaterThanOrEqual(3);
});

it('A sender whose peer does not read plans no turns, and goes on when the socket has taken its bytes', async () => {
  const owner = new ScriptedOwner(new ScriptedSocket(false));
  const { socket } = owner;
  owner.pieceBytes = 16 * 1024;
  owner.offer(4 * roomBytes);
  expect(await turnsUntilRest()).toBeLessThan(5);
  expect(owner.leftBytes).toBeGreaterThan(0);
  for (let times = 0; owner.leftBytes > 0 && times < 100; times++) {
    socket.takeAll();
    await turnsUntilRest();
  }
  while (socket.writableLength > 0) socket.takeAll();
  expect(socket.writes.reduce((sum, bytes) => sum + bytes)).toBe(4 * roomBytes);
});

it('Bytes that the owner gets while it is pulled are sent in the next turn', async () => {
  const owner = new ScriptedOwner(new ScriptedSocket(false));
  owner.whilePulling = () => {
    owner.whilePulling = () => {};
    owner.offer(1);
  };
  owner.offer(1);
  await turnsUntilRest();
  expect([owner.leftBytes, owner.pulls]).toEqual([0, 2]);
});

it('A sender whose owner may not be pulled plans no turns', async () => {
  const owner = new ScriptedOwner(new ScriptedSocket(false));
  owner.canPull = false;
  owner.offer(1);
  expect(await turnsUntilRest()).toBe(0);
  owner.canPull = true;
  owner.sender.wake();
  await turnsUntilRest();
  expect(owner.socket.writes).toEqual([1]);
});

it('A destroyed sender asks its owner for nothing and tells it nothing', async () => {
  const calls: string[] = [];
  const sender = new SocketSender(new ScriptedSocket(false) as unknown as Socket, {
    canPull: true,
    pull: () => calls.push('pull'),
    onFlushed: () => calls.push('flushed'),
    onDrained: () => calls.push('drained'),
  });
  sender.wake();
  sender.destroy();
  await turnsUntilRest();
  expect(calls).toEqual([]);
});
