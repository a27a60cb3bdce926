import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { SocketWriter } from '../../../src/stream-io/node/socket-writer.ts';

/** A socket that takes a buffer when the test wants. */
function slowSocket() {
  const written: Buffer[] = [];
  const callbacks: (() => void)[] = [];
  const socket = {
    write(bytes: Buffer, onTaken: () => void) {
      written.push(Buffer.from(bytes));
      callbacks.push(onTaken);
    },
    end: () => written.push(Buffer.from('END')),
  } as unknown as Socket;
  return { socket, written, take: () => callbacks.shift()!() };
}

const turn = () => new Promise((resolve) => void setImmediate(resolve));

describe('A writer of a socket', () => {
  it('A writer sends what a turn has brought in one buffer, text and bytes in their order', async () => {
    const { socket, written, take } = slowSocket();
    const taken: number[] = [];
    const writer = new SocketWriter(socket, (bytes) => taken.push(bytes));
    writer.writeText('a\xff');
    writer.write(Uint8Array.of(1, 2));
    writer.writeText('b');
    await turn();
    expect(written).toEqual([Buffer.from('a\xff\x01\x02b', 'latin1')]);
    expect(taken).toEqual([]);
    take();
    expect(taken).toEqual([5]);
  });

  it('A writer whose peer does not read fills buffers before it gives them to the socket', async () => {
    const { socket, written, take } = slowSocket();
    const taken: number[] = [];
    const writer = new SocketWriter(socket, (bytes) => taken.push(bytes));
    const line = 'a'.repeat(99);
    for (let event = 0; event < 1_000; event++) {
      writer.writeText(`${line}\n`);
      await turn();
    }
    expect(written.map(({ length }) => length)).toEqual([100, 64 * 1024]);
    for (const bytes of [100, 64 * 1024, 100_000 - 100 - 64 * 1024]) {
      take();
      expect(taken.at(-1)).toBe(bytes);
    }
    expect(Buffer.concat(written).toString()).toBe(`${line}\n`.repeat(1_000));
  });

  it('A writer gathers until the end of the turn what comes behind a buffer that the kernel took at once', async () => {
    const { socket, written, take } = slowSocket();
    const writer = new SocketWriter(socket, () => {});
    writer.write(new Uint8Array(64 * 1024 + 100));
    take();
    writer.write(new Uint8Array(200));
    expect(written.map(({ length }) => length)).toEqual([64 * 1024]);
    await turn();
    expect(written.map(({ length }) => length)).toEqual([64 * 1024, 300]);
  });

  it('A writer that ends sends everything first', async () => {
    const { socket, written } = slowSocket();
    const writer = new SocketWriter(socket, () => {});
    writer.writeText('a');
    await turn();
    writer.writeText('b');
    writer.end();
    await turn();
    expect(Buffer.concat(written).toString()).toBe('abEND');
  });

  it('A writer takes text that is longer than a buffer', async () => {
    const { socket, written } = slowSocket();
    const writer = new SocketWriter(socket, () => {});
    const text = 'ab\xff'.repeat(50_000);
    writer.writeText('x');
    writer.writeText(text);
    writer.end();
    expect(Buffer.concat(written).toString('latin1')).toBe(`x${text}END`);
  });
});
