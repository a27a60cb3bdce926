import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  clientPreface,
  frame,
  frameTypes,
  headers,
  ping,
  reset,
  settings,
} from '../../testkit/http2/frames.ts';
import { addedField, indexedField, plainField } from '../../testkit/http2/hpack-bytes.ts';
import { type ServedGateway, serveTlsGateway } from '../gateway/served-gateway.ts';

const stuckMs = 5_000;
const stack = new AsyncDisposableStack();
let world: ServedGateway;

beforeAll(async () => {
  world = stack.use(await serveTlsGateway());
});
afterAll(() => stack.disposeAsync());

/** The head of a GET, without the dynamic table. */
const getHead = Buffer.concat([
  // :method GET and :scheme https.
  indexedField(2),
  indexedField(7),
  plainField(':path', '/c1/version'),
  plainField(':authority', 'a'),
]);

/** Adds a field of 4000 bytes to the dynamic table. The field has the index 62. */
const largeField = addedField('a', 'b'.repeat(4000 - 32));
const indexOfLargeField = 62;

/** @throws Error an honest client is not served */
async function beHonest(): Promise<void> {
  const session = connectHttp2(world.gateway.url, { rejectUnauthorized: false });
  const stream = session.request({ ':path': '/c1/version' }).resume();
  const [head] = (await once(stream, 'response')) as [Record<string, number>];
  session.destroy();
  if (head[':status'] !== 200) throw new Error(`an honest client got ${head[':status']}`);
}

/**
 * Repeats these bytes until the gateway ends the connection. Returns whether it did. An honest
 * client is served beside the flood.
 */
async function isEnded(times: number, bytes: (at: number) => Uint8Array): Promise<boolean> {
  const { host, port } = world.gateway.address;
  const socket: TLSSocket = connect({
    ...{ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] },
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  const closed = new Promise<true>((resolve) => void socket.once('close', () => resolve(true)));
  socket.write(Buffer.concat([clientPreface, settings()]));
  for (let at = 0; at < times && !socket.destroyed; at++) {
    if (!socket.write(bytes(at))) {
      const drained = new Promise((resolve) => void socket.once('drain', resolve));
      await Promise.race([drained, closed, sleep(stuckMs, undefined, { ref: false })]);
    }
    if (at % 100 === 0) await beHonest();
  }
  socket.resume();
  const isOver = await Promise.race([closed, sleep(stuckMs, false, { ref: false })]);
  socket.destroy();
  return isOver;
}

const many = (count: number, bytes: Uint8Array): Buffer =>
  Buffer.concat(Array<Uint8Array>(count).fill(bytes));

describe('An attack with HTTP/2 on the gateway', () => {
  it.each([
    ['PINGs whose answers are never read', many(5000, ping())],
    ['SETTINGS whose answers are never read', many(5000, settings())],
  ])('A flood of %s ends its connection', async (_, batch) => {
    expect(await isEnded(1000, () => batch)).toBe(true);
  });

  it('A flood of requests that are reset at once ends its connection', async () => {
    const batch = (at: number): Buffer =>
      Buffer.concat(
        Array.from({ length: 100 }, (_, n) => {
          const stream = 2 * (100 * at + n) + 1;
          return Buffer.concat([headers(stream, getHead, 0x5), reset(stream)]);
        }),
      );
    expect(await isEnded(500, batch)).toBe(true);
  });

  it.each([
    // 64 MiB of fields in 16 KB. Node resets the stream and does not report it.
    ['many fields', 16_000],
    ['a few large fields', 1_000],
  ])('A flood of heads with %s from the dynamic table ends its connection', async (_, fields) => {
    const head = Buffer.concat([getHead, many(fields, indexedField(indexOfLargeField))]);
    const first = headers(1, Buffer.concat([getHead, largeField]), 0x5);
    const bomb = (at: number): Buffer => (at === 0 ? first : headers(2 * at + 1, head, 0x5));
    expect(await isEnded(10_000, bomb)).toBe(true);
  });

  it('A flood of CONTINUATIONs ends its connection', async () => {
    const begin = frame(frameTypes.headers, 0, 1, getHead);
    const batch = many(5000, frame(frameTypes.continuation, 0, 1));
    expect(await isEnded(1000, (at) => (at === 0 ? begin : batch))).toBe(true);
  });
});
