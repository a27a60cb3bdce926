import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const kibibyte = 1024;

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});
const servers: ReturnType<typeof createServer>[] = [];
const sockets: Socket[] = [];

/** A target, and a stream that only records the target's bytes and events. */
async function connected() {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clock = new VirtualClock();
  const accepted = Promise.withResolvers<void>();
  const told = { writtenBytes: 0, fins: 0, resets: 0 };
  const stream = {
    accept: accepted.resolve,
    reset: () => void told.resets++,
    fin: () => void told.fins++,
    consumed() {},
    write(bytes: Uint8Array) {
      told.writtenBytes += bytes.length;
      return true;
    },
  };
  const open = new OpenTargets(new VirtualClock());
  const { port } = server.address() as AddressInfo;
  const connection = once(server, 'connection') as Promise<[Socket]>;
  const target = new TargetConnection(
    stream as unknown as Stream,
    { host: '127.0.0.1', port },
    { timeoutMs: 5_000, clock },
    open,
  );
  const [socket] = await connection;
  await accepted.promise;
  sockets.push(socket);
  const seen = { ended: false, error: undefined as string | undefined, receivedBytes: 0 };
  socket.on('end', () => (seen.ended = true));
  socket.on('error', (error: NodeJS.ErrnoException) => (seen.error = error.code));
  socket.on('data', (bytes: Buffer) => (seen.receivedBytes += bytes.length));
  return { target, clock, told, open, socket, seen };
}

/** Sends without end. */
function flood(socket: Socket): { takenBytes: number } {
  const taken = { takenBytes: 0 };
  const piece = Buffer.alloc(64 * kibibyte);
  const send = (): void => {
    socket.write(piece, (error) => {
      if (error) return;
      taken.takenBytes += piece.length;
      setImmediate(send);
    });
  };
  send();
  return taken;
}

describe('A target whose client wants no more bytes', () => {
  it("A stopped target is not read any more, gets the client's bytes and FIN, and a RST one second later", async () => {
    const { target, clock, told, open, socket, seen } = await connected();
    socket.resume();
    const sent = flood(socket);
    await expect.poll(() => told.writtenBytes).toBeGreaterThan(1024 * kibibyte);
    target.onStop();
    const { writtenBytes } = told;
    target.onData(Buffer.from('last words'));
    target.onFin();
    target.onClose(undefined);
    await expect.poll(() => seen.ended).toBe(true);
    expect(seen.receivedBytes).toBe(10);
    // The kernel's buffers fill, and then nothing moves.
    let before = -1;
    await expect
      .poll(
        () => {
          const isStill = before === sent.takenBytes;
          before = sent.takenBytes;
          return isStill;
        },
        { interval: 200, timeout: 20_000 },
      )
      .toBe(true);
    expect(told.writtenBytes).toBe(writtenBytes);
    await clock.advance(999);
    expect([open.size, seen.error]).toEqual([1, undefined]);
    await clock.advance(1);
    await expect.poll(() => seen.error).toMatch(/ECONNRESET|EPIPE/);
    expect([open.size, clock.pendingTimers]).toEqual([0, 0]);
  });

  it('A stopped target that has nothing more to send is closed as soon as it has closed', async () => {
    const { target, clock, open, socket, seen, told } = await connected();
    socket.write(Buffer.alloc(20 * kibibyte));
    socket.resume();
    await expect.poll(() => told.writtenBytes).toBe(20 * kibibyte);
    socket.write(Buffer.alloc(20 * kibibyte));
    target.onStop();
    target.onFin();
    target.onClose(undefined);
    await expect.poll(() => seen.ended).toBe(true);
    socket.end();
    await expect.poll(() => open.size).toBe(0);
    expect(seen.error).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it("A stopped target gets another second for each 128 KiB of the client's bytes, but at most 30 seconds", async () => {
    for (const [writtenKibibytes, delayMs] of [
      [256, 3_000],
      [8 * 1024, 30_000],
    ] as const) {
      const { target, clock, open, socket, seen } = await connected();
      socket.resume();
      flood(socket);
      target.onStop();
      for (let at = 0; at < writtenKibibytes; at += 64) target.onData(Buffer.alloc(64 * kibibyte));
      target.onFin();
      target.onClose(undefined);
      await expect.poll(() => seen.ended).toBe(true);
      expect(seen.receivedBytes).toBe(writtenKibibytes * kibibyte);
      await expect.poll(() => clock.pendingTimers).toBe(1);
      await clock.advance(delayMs - 1);
      expect(open.size).toBe(1);
      await clock.advance(1);
      await expect.poll(() => open.size).toBe(0);
    }
  });

  it('A stopped target keeps its connection while the client still writes', async () => {
    const { target, clock, open, socket, seen } = await connected();
    socket.resume();
    target.onStop();
    await clock.advance(600_000);
    target.onData(Buffer.from('more'));
    await expect.poll(() => seen.receivedBytes).toBe(4);
    expect(open.size).toBe(1);
    target.onFin();
    await expect.poll(() => seen.ended).toBe(true);
    socket.end();
    await expect.poll(() => open.size).toBe(0);
  });
});
