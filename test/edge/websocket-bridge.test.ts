import { describe, expect, it } from 'vitest';
import { type ClientSocket, WebSocketBridge } from '../../src/gateway/edge/websocket-bridge.ts';
import { maxMessageBytes } from '../../src/gateway/edge/websocket-frames.ts';
import type { HttpExchange } from '../../src/http-exchange/http-exchange.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { collectGarbage } from '../../testkit/processes/collect-garbage.ts';

const mib = 1024 ** 2;
const text = 0x01;
const continuation = 0x00;
const final = 0x80;
const close = 0x08;
const ping = 0x09;

/** A frame of a server. */
function frame(first: number, payload = ''): Buffer {
  return Buffer.concat([Buffer.from([first, payload.length]), Buffer.from(payload)]);
}

/** `count` times the same frame. */
function frames(count: number, one: Buffer): Buffer {
  return Buffer.alloc(count * one.length, one);
}

/** A bridge to a server whose agent takes bytes, or keeps them waiting. */
function startBridge({ isWritable = true } = {}) {
  const sent: (string | ArrayBuffer | ArrayBufferView)[] = [];
  /** The opcodes that the server gets, and the end. */
  const written: (number | 'end')[] = [];
  const listeners = new Map<string, (event: object) => void>();
  let error: TunnelError | undefined;
  let isComplete: boolean | undefined;
  const socket: ClientSocket = {
    send: (message) => void sent.push(message),
    close() {},
    addEventListener: (kind, listener) => void listeners.set(kind, listener),
  };
  const exchange: HttpExchange = {
    write([first]) {
      if (written.includes('end')) throw new Error('a stream takes no bytes after its end');
      written.push(first! & 0x0f);
      return isWritable;
    },
    end: () => void (written.includes('end') || written.push('end')),
    consumed() {},
    reset: (reason) => (error ??= reason),
  };
  const bridge = new WebSocketBridge(socket, exchange, (complete) => (isComplete = complete));
  const fromClient = (bytes: number) => listeners.get('message')!({ data: new ArrayBuffer(bytes) });
  const closeClient = () => listeners.get('close')!({ code: 1000, reason: '', wasClean: true });
  return {
    ...{ bridge, sent, written, fromClient, closeClient },
    error: () => error,
    isComplete: () => isComplete,
  };
}

/** Bytes of the process that are in use. */
function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('A server behind the Worker', () => {
  it('A server behind the Worker sends a message in frames of any length', () => {
    const { bridge, sent } = startBridge();
    bridge.onData(frame(text, 'a'));
    bridge.onData(frame(continuation));
    bridge.onData(frames(3, frame(continuation, 'b')));
    bridge.onData(frame(final | continuation, 'c'));
    bridge.onData(frame(text));
    bridge.onData(frame(final | continuation, 'd'));
    bridge.onData(frame(final | text, 'e'));
    expect(sent).toEqual(['abbbc', 'd', 'e']);
  });

  it.each([
    ['empty frames', frame(continuation)],
    ['frames of one byte', frame(continuation, 'x')],
  ])('A server behind the Worker fills no memory with %s', (_, one) => {
    const { bridge, error } = startBridge();
    const flood = frames(64 * 1024, one);
    bridge.onData(frame(text));
    const beforeBytes = usedBytes();
    bridge.onData(flood);
    // An object for each frame takes 13 MiB.
    expect(usedBytes() - beforeBytes).toBeLessThan(5 * mib);
    expect(error()).toBeUndefined();
  });

  it('A server behind the Worker loses its connection with a message over 1 MiB', () => {
    const { bridge, sent, error } = startBridge();
    bridge.onData(frame(text));
    bridge.onData(frames(maxMessageBytes / 64, frame(continuation, 'x'.repeat(64))));
    expect(error()).toBeUndefined();
    bridge.onData(frame(final | continuation, 'x'));
    expect(error()).toMatchObject({ code: 'frame_too_large' });
    expect(sent).toEqual([]);
  });

  it('A server behind the Worker loses its connection when answers to its pings wait with 32 MiB', () => {
    const { bridge, fromClient, error } = startBridge({ isWritable: false });
    fromClient(32 * mib - 100);
    expect(error()).toBeUndefined();
    bridge.onData(frame(final | ping, 'x'.repeat(125)));
    expect(error()).toMatchObject({ code: 'overloaded' });
  });
});

describe('The end of a WebSocket through the Worker', () => {
  it('A client that closes gets its end in order, also from a server that still sends pings', () => {
    const { bridge, written, closeClient, error, isComplete } = startBridge();
    closeClient();
    bridge.onData(frame(final | ping));
    bridge.onData(frame(final | close));
    bridge.onEnd();
    bridge.onClose(undefined);
    expect(error()).toBeUndefined();
    expect(written).toEqual([close, 'end']);
    expect(isComplete()).toBe(true);
  });

  it.each([
    { way: 'has sent its close frame', end: [final | close] },
    { way: 'has ended its connection', end: [] },
  ])('What a client still sends when its server $way is dropped', ({ end }) => {
    const { bridge, written, fromClient, closeClient } = startBridge();
    for (const first of end) bridge.onData(frame(first));
    bridge.onEnd();
    fromClient(1);
    closeClient();
    expect(written).toEqual(end.length > 0 ? [close, 'end'] : ['end']);
  });
});
