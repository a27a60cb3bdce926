import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { clientPreface, headers, settingIds, settings } from '../../testkit/http2/frames.ts';
import { indexedField, plainField } from '../../testkit/http2/hpack-bytes.ts';
import { RawClient } from '../gateway/raw-client.ts';
import { type ServedGateway, serveTlsGateway } from '../gateway/served-gateway.ts';
import { knowsGoodToken } from '../gateway/test-gateway.ts';

const stack = new AsyncDisposableStack();
const clock = new VirtualClock();
let world: ServedGateway;
/** Timers that run without any client. They read the TLS files again. */
let idleTimers: number;

beforeAll(async () => {
  world = stack.use(
    await serveTlsGateway({
      clock,
      core: {
        clock,
        authenticator: knowsGoodToken,
      },
    }),
  );
  idleTimers = clock.pendingTimers;
});
afterAll(() => stack.disposeAsync());

/** A client of HTTP/2 whose windows are 0, so that no answer can be sent to it. */
async function openUnread(): Promise<TLSSocket> {
  const { host, port } = world.gateway.address;
  const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write(Buffer.concat([clientPreface, settings([[settingIds.initialWindowSize, 0]])]));
  return socket.resume();
}

/** A GET over HTTP/2 with END_STREAM and END_HEADERS. */
function get(stream: number, token: string): Buffer {
  const fields = [
    // :method GET and :scheme https.
    indexedField(2),
    indexedField(7),
    plainField(':path', '/c1/version'),
    plainField(':authority', 'a'),
    plainField('authorization', `Bearer ${token}`),
  ];
  return headers(stream, Buffer.concat(fields), 0x1 | 0x4);
}

async function untilOpened(count: number): Promise<void> {
  while (world.exchanges.opened.length < count) await new Promise(setImmediate);
}

/** Waits until a timer runs, because a refusal was answered. */
async function untilTimer(): Promise<void> {
  while (clock.pendingTimers <= idleTimers) await new Promise(setImmediate);
}

describe('A client that never reads', () => {
  it('A stranger with windows of 0 loses its connection, also if it keeps sending requests', async () => {
    const socket = await openUnread();
    const closed = once(socket, 'close');
    socket.write(get(1, 'bad'));
    await untilTimer();
    await clock.advance(20_000);
    socket.write(get(3, 'bad'));
    await clock.advance(12_000);
    await closed;
    expect(socket.destroyed).toBe(true);
  });

  it('A stranger that reads its refusals keeps its connection', async () => {
    const audited = world.audited.length;
    const socket = new RawClient(
      world.gateway.address,
      connect({ ...world.gateway.address, rejectUnauthorized: false }),
    );
    socket.send('GET /c1/version HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer bad\r\n\r\n');
    await socket.until('"code":401');
    while (world.audited.length === audited) await new Promise(setImmediate);
    await clock.advance(60_000);
    socket.send(
      'GET /c1/version HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nConnection: close\r\n\r\n',
    );
    expect(await socket.end()).toMatch(/hello/);
  });

  it('A user with a valid token and windows of 0 keeps its connection', async () => {
    const opened = world.exchanges.opened.length;
    const socket = await openUnread();
    socket.write(get(1, 'good'));
    await untilOpened(opened + 1);
    while (world.exchanges.live.size > 0) await new Promise(setImmediate);
    socket.write(get(3, 'bad'));
    await clock.advance(120_000);
    expect(socket.destroyed).toBe(false);
    socket.destroy();
  });
});
