import { describe, expect, it, onTestFinished } from 'vitest';
import { connectWeb } from '../../src/dialer/connect-web.ts';
import type { WebStreamPair } from '../../src/stream-io/web-streams.ts';
import { WebStreams } from '../../src/stream-io/web-streams.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { startMemoryTunnel } from '../../testkit/link/memory-tunnel.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';

const windowBytes = 256 * 1024;
const options = { cluster: 'c1', target: sampleTarget };

/** Both ends of one stream: the dialer's and the acceptor's. */
async function webPair(): Promise<readonly [WebStreamPair, WebStreamPair]> {
  const accepted = Promise.withResolvers<WebStreamPair>();
  const tunnel = await startMemoryTunnel((_, stream) => {
    const streams = new WebStreams();
    streams.bind(stream);
    queueMicrotask(() => {
      stream.accept();
      streams.onOpened();
      accepted.resolve(streams);
    });
    return streams;
  });
  onTestFinished(() => tunnel[Symbol.asyncDispose]());
  return [await connectWeb(tunnel.dialer, options), await accepted.promise];
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

async function textOf(readable: ReadableStream<Uint8Array>): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const piece of readable) text += decoder.decode(piece, { stream: true });
  return text;
}

/** Waits until nothing more can happen without further reads. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}

describe('A pair of web streams', () => {
  it('The web streams carry bytes both ways, and closing one direction leaves the other direction open', async () => {
    const [near, far] = await webPair();
    const asked = near.writable.getWriter();
    await asked.write(bytesOf('question'));
    await asked.close();
    expect(await textOf(far.readable)).toBe('question');
    const answering = far.writable.getWriter();
    await answering.write(bytesOf('ans'));
    await answering.write(bytesOf('wer'));
    await answering.close();
    expect(await textOf(near.readable)).toBe('answer');
  });

  it('The web streams hold a writer back until the reader at the other end reads', async () => {
    const [near, far] = await webPair();
    const writer = near.writable.getWriter();
    const pieceBytes = 64 * 1024;
    let writtenBytes = 0;
    let isDone = false;
    const totalBytes = 8 * windowBytes;
    const writing = (async () => {
      while (writtenBytes < totalBytes) {
        await writer.write(new Uint8Array(pieceBytes));
        writtenBytes += pieceBytes;
      }
      await writer.close();
      isDone = true;
    })();
    await settle();
    expect(isDone).toBe(false);
    // The window and the sender's buffer.
    expect(writtenBytes).toBeLessThanOrEqual(2 * windowBytes);
    let receivedBytes = 0;
    for await (const piece of far.readable) receivedBytes += piece.length;
    await writing;
    expect(receivedBytes).toBe(totalBytes);
  });

  it('The web streams reset the stream when the writer aborts, with the reason as the message for the other end', async () => {
    const [near, far] = await webPair();
    const reading = far.readable.getReader().read();
    await near.writable.abort(new Error('changed my mind'));
    await expect(reading).rejects.toMatchObject({ code: 'reset', message: 'changed my mind' });
    await expect(near.readable.getReader().read()).rejects.toMatchObject({ code: 'reset' });
    await expect(far.writable.getWriter().closed).rejects.toMatchObject({ code: 'reset' });
  });

  it('The web streams reset the stream when the writer aborts while it waits for window', async () => {
    const [near, far] = await webPair();
    const writer = near.writable.getWriter();
    const writing = writer.write(new Uint8Array(4 * windowBytes));
    await settle();
    await writer.abort(new TunnelError('cancelled', 'enough'));
    await expect(writing).rejects.toMatchObject({ code: 'cancelled' });
    await expect(far.writable.getWriter().closed).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('The web streams tell the writer at the other end when the reader cancels, and can still write', async () => {
    const [near, far] = await webPair();
    await near.readable.cancel();
    await expect(far.writable.getWriter().closed).rejects.toMatchObject({ code: 'reset' });
    const writer = near.writable.getWriter();
    await writer.write(bytesOf('last words'));
    await writer.close();
    expect(await textOf(far.readable)).toBe('last words');
  });
});

describe('Web streams whose reader is slow', () => {
  it('The web streams gather what comes a byte at a time', async () => {
    const streams = new WebStreams();
    for (let sent = 0; sent < 1000; sent++) streams.onData(bytesOf('a'));
    streams.onFin();
    const pieces = await Array.fromAsync(streams.readable);
    expect(pieces.map(({ length }) => length)).toEqual([1000]);
  });
});

describe('A dial as web streams', () => {
  it('The dial as web streams rejects with the reason of the acceptor', async () => {
    await using tunnel = await startMemoryTunnel((_, stream) => {
      stream.reset(new TunnelError('refused', 'nobody listens'));
      return { onData() {}, onFin() {}, onWritable() {}, onClose() {} };
    });
    const dial = connectWeb(tunnel.dialer, options);
    await expect(dial).rejects.toMatchObject({ code: 'refused', message: 'nobody listens' });
  });

  it('The dial as web streams rejects when its signal aborts', async () => {
    const handler = { onData() {}, onFin() {}, onWritable() {}, onClose() {} };
    await using tunnel = await startMemoryTunnel(() => handler);
    const controller = new AbortController();
    const dial = connectWeb(tunnel.dialer, { ...options, signal: controller.signal });
    controller.abort();
    await expect(dial).rejects.toMatchObject({ code: 'cancelled' });
  });
});
