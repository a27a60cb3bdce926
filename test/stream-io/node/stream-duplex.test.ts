import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { connect } from '../../../src/dialer/node/connect.ts';
import { StreamDuplex } from '../../../src/stream-io/node/stream-duplex.ts';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { startMemoryTunnel } from '../../../testkit/link/memory-tunnel.ts';
import { sampleTarget } from '../../../testkit/link/linked-sessions.ts';

const windowBytes = 256 * 1024;
const options = { cluster: 'c1', target: sampleTarget };

/** Both ends of one stream: the dialer's and the acceptor's. */
async function duplexPair(): Promise<readonly [Duplex, Duplex]> {
  const accepted = Promise.withResolvers<Duplex>();
  const tunnel = await startMemoryTunnel((_, stream) => {
    const duplex = new StreamDuplex();
    duplex.bind(stream);
    queueMicrotask(() => {
      stream.accept();
      duplex.onOpened();
      accepted.resolve(duplex);
    });
    return duplex;
  });
  const pair = [await connect(tunnel.dialer, options), await accepted.promise] as const;
  onTestFinished(async () => {
    for (const duplex of pair) duplex.on('error', () => {});
    await tunnel[Symbol.asyncDispose]();
  });
  return pair;
}

/** Waits until nothing more can happen without further reads. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe('A Duplex over a stream', () => {
  it('The Duplex carries bytes both ways, and ends each direction by itself', async () => {
    const [near, far] = await duplexPair();
    near.end('question');
    expect(await text(far)).toBe('question');
    expect(near.destroyed).toBe(false);
    far.write('ans');
    far.end('wer');
    expect(await text(near)).toBe('answer');
  });

  it('The Duplex holds a writer back until the reader at the other end reads', async () => {
    const [near, far] = await duplexPair();
    const bytes = 8 * windowBytes;
    near.end(Buffer.alloc(bytes));
    near.once('finish', () => (isFinished = true));
    let isFinished = false;
    await settle();
    expect(isFinished).toBe(false);
    expect((await buffer(far)).length).toBe(bytes);
    await expect.poll(() => isFinished).toBe(true);
  });

  it('The Duplex grants no window for bytes that its user has not read', async () => {
    const [near, far] = await duplexPair();
    const totalBytes = 16 * windowBytes;
    let writtenBytes = 0;
    const write = (): void => {
      while (writtenBytes < totalBytes && near.write(Buffer.alloc(16 * 1024))) {
        writtenBytes += 16 * 1024;
      }
    };
    near.on('drain', write);
    write();
    // A reader that reads once and then stops.
    far.once('data', () => far.pause());
    await settle();
    // The window, the sender's buffer, and the queues of two Duplexes.
    expect(writtenBytes).toBeLessThan(4 * windowBytes);
    far.resume();
    await expect.poll(() => writtenBytes).toBe(totalBytes);
  });

  it('The Duplex resets the stream when it is destroyed before its end', async () => {
    const [near, far] = await duplexPair();
    const failed = once(far, 'error');
    near.write('half of it');
    near.destroy();
    expect((await failed)[0]).toMatchObject({ code: 'reset', message: 'the stream was closed' });
  });

  it('The Duplex sends the message of the error that destroys it to the other end', async () => {
    const [near, far] = await duplexPair();
    const failed = once(far, 'error');
    near.on('error', () => {});
    near.destroy(new Error('out of paper'));
    expect((await failed)[0]).toMatchObject({ code: 'reset', message: 'out of paper' });
  });

  it('The Duplex delivers all written bytes when it is destroyed after its end, and drops later incoming bytes', async () => {
    const [near, far] = await duplexPair();
    near.end('last words');
    await once(near, 'finish');
    near.destroy();
    expect(await text(far)).toBe('last words');
    // The other end learns that no more bytes are wanted, so its writes do not wait.
    await new Promise<void>((resolve) => void far.end(Buffer.alloc(8 * windowBytes), resolve));
  });

  it('The Duplex is destroyed with the error of the stream', async () => {
    const [near, far] = await duplexPair();
    const failed = once(near, 'error');
    far.on('error', () => {});
    far.destroy(new TunnelError('target_reset', 'connection reset by peer'));
    expect((await failed)[0]).toMatchObject({ code: 'target_reset' });
    expect(near.destroyed).toBe(true);
  });
});

describe('A dial as a Duplex', () => {
  const silent = { onData() {}, onFin() {}, onWritable() {}, onClose() {} };

  it('The dial as a Duplex rejects with the reason of the acceptor', async () => {
    await using tunnel = await startMemoryTunnel((_, stream) => {
      stream.reset(new TunnelError('refused', 'nobody listens'));
      return silent;
    });
    const dial = connect(tunnel.dialer, options);
    await expect(dial).rejects.toMatchObject({ code: 'refused', message: 'nobody listens' });
  });

  it('The dial as a Duplex rejects when its signal aborts', async () => {
    await using tunnel = await startMemoryTunnel(() => silent);
    const controller = new AbortController();
    const dial = connect(tunnel.dialer, { ...options, signal: controller.signal });
    controller.abort();
    await expect(dial).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('The Duplex of a dial keeps bytes that are written before the stream is open, and cancels the dial when it is destroyed', async () => {
    const closed = Promise.withResolvers<TunnelError | undefined>();
    const accepts: (() => void)[] = [];
    let received = '';
    await using tunnel = await startMemoryTunnel((_, stream) => {
      accepts.push(() => stream.accept());
      const onData = (bytes: Uint8Array): void => void (received += Buffer.from(bytes).toString());
      return { ...silent, onData, onClose: closed.resolve };
    });
    const open = (): StreamDuplex => {
      const duplex = new StreamDuplex();
      duplex.bind(tunnel.dialer.open(options, duplex));
      return duplex.on('error', () => {});
    };
    const early = open();
    early.write('early');
    await expect.poll(() => accepts.length).toBe(1);
    accepts[0]!();
    await expect.poll(() => received).toBe('early');
    const given = open();
    await expect.poll(() => accepts.length).toBe(2);
    given.destroy();
    expect((await closed.promise)?.code).toBe('cancelled');
  });
});

it('A Duplex whose reader is slow gathers what comes a byte at a time', async () => {
  const duplex = new StreamDuplex();
  const consumed = () => {};
  duplex.bind({ consumed } as unknown as Parameters<StreamDuplex['bind']>[0]);
  for (let sent = 0; sent < 1000; sent++) duplex.onData(Buffer.from('a'));
  duplex.onFin();
  const push = vi.spyOn(duplex, 'push');
  expect(await text(duplex)).toBe('a'.repeat(1000));
  expect(push.mock.calls.map(([piece]) => (piece as Buffer | null)?.length)).toEqual([
    1000,
    undefined,
  ]);
});
