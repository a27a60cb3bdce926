import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import {
  clientPreface,
  data,
  frameFlags,
  FrameSplitter,
  frameTypes,
  headers,
  ping,
  reset,
  settings,
  type WireFrame,
} from '../../testkit/http2/frames.ts';
import { plainField, requestHead } from '../../testkit/http2/hpack-bytes.ts';
import { serveTlsGateway, type ServedGateway } from './served-gateway.ts';
import { knowsGoodToken } from './test-gateway.ts';

const { ack, endStream } = frameFlags;
const headTimeoutMs = 32_000;
const goAwayTimeoutMs = 5_000;
let world: ServedGateway;
afterEach(() => world[Symbol.asyncDispose]());

const head = (method: string, ...more: readonly Buffer[]): Buffer =>
  requestHead(method, '/c1/a', plainField(':authority', 'a'), ...more);
const get = (stream: number): Buffer => headers(stream, head('GET'), endStream);
const isPing = ({ type, flags }: WireFrame): boolean => type === frameTypes.ping && flags === 0;

/** A client that sends frames, and answers none unless the test does. */
class FrameClient {
  readonly socket: TLSSocket;
  readonly frames: WireFrame[] = [];
  /** The frames of each read. */
  readonly reads: WireFrame[][] = [];
  isClosed = false;
  readonly #splitter = new FrameSplitter();

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => (this.isClosed = true));
    socket.on('data', (bytes: Buffer) => {
      const read = this.#splitter.push(bytes);
      this.reads.push(read);
      this.frames.push(...read);
    });
  }

  static async open(): Promise<FrameClient> {
    const { host, port } = world.gateway.address;
    const socket = connect({ host, port, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    const client = new FrameClient(socket);
    client.send(clientPreface, settings());
    await client.until(({ type, flags }) => type === frameTypes.settings && flags === ack);
    return client;
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  /** @throws Error the connection has ended without such a frame */
  async until(isIt: (frame: WireFrame) => boolean): Promise<WireFrame> {
    for (;;) {
      const found = this.frames.find(isIt);
      if (found !== undefined) return found;
      if (this.isClosed) throw new Error('the connection has ended');
      await new Promise(setImmediate);
    }
  }

  untilEnd(stream: number): Promise<WireFrame> {
    return this.until((frame) => frame.stream === stream && (frame.flags & endStream) !== 0);
  }

  async untilClosed(): Promise<void> {
    while (!this.isClosed) await new Promise(setImmediate);
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

describe('A connection of HTTP/2', () => {
  it('A small answer leaves in one write', async () => {
    world = await serveTlsGateway();
    const client = await FrameClient.open();
    client.send(get(1));
    await client.untilEnd(1);
    const { host } = world.gateway.address;
    expect(host).toBe('127.0.0.1');
    expect(client.reads.at(-1)!.map(({ type }) => type)).toEqual([
      frameTypes.headers,
      frameTypes.data,
      frameTypes.data,
    ]);
    client.socket.destroy();
  });

  it('A body that its server does not read stalls no other body', async () => {
    world = await serveTlsGateway();
    world.answer = (request, response) => {
      if (request.headers['x-stall'] !== undefined) return;
      let bytes = 0;
      request.on('data', (piece: Buffer) => (bytes += piece.length));
      request.on('end', () => response.end(String(bytes)));
    };
    const session = connectHttp2(world.gateway.url, { rejectUnauthorized: false });
    session.on('error', () => {});
    const post = (fields = {}) =>
      session.request({ ':method': 'POST', ':path': '/c1/a', ...fields });
    const stalled = [1, 2, 3].map((n) => post({ 'x-stall': String(n) }));
    for (const stream of stalled) {
      stream.on('error', () => {});
      stream.write(Buffer.alloc(2_000_000));
    }
    const read = post();
    read.end(Buffer.alloc(3_000_000));
    const pieces = (await read.toArray()) as Buffer[];
    expect(String(Buffer.concat(pieces))).toBe('3000000');
    session.destroy();
  });

  it('An answer that comes before the body has ended is complete, and the body is not wanted', async () => {
    world = await serveTlsGateway();
    const client = await FrameClient.open();
    client.send(headers(1, head('POST')), data(1, Buffer.from('part')));
    await client.until(({ type, stream }) => type === frameTypes.reset && stream === 1);
    const own = client.frames.filter(({ stream }) => stream === 1);
    expect(own.map(({ type }) => type)).toEqual([
      ...[frameTypes.headers, frameTypes.data, frameTypes.data, frameTypes.reset],
    ]);
    expect(own.at(-1)!.payload.readUInt32BE()).toBe(0);
    await until(() => world.audited.length === 1);
    expect(world.audited[0]).toMatchObject({ code: 200, isComplete: true });
    client.send(data(1, Buffer.from('late'), endStream), get(3));
    await client.untilEnd(3);
    client.socket.destroy();
  });

  it.each([
    ['longer', Buffer.from('abcd')],
    ['shorter', Buffer.from('ab')],
  ])('A body that is %s than announced is reset, and never looks complete', async (_, body) => {
    world = await serveTlsGateway();
    let isAborted: boolean | undefined;
    world.answer = (request) => void request.on('close', () => (isAborted = !request.complete));
    const client = await FrameClient.open();
    client.send(headers(1, head('POST', plainField('content-length', '3'))));
    await until(() => world.exchanges.live.size === 1);
    client.send(data(1, body, endStream));
    const { payload } = await client.until(({ type }) => type === frameTypes.reset);
    expect(payload.readUInt32BE()).toBe(1);
    await until(() => isAborted !== undefined);
    expect(isAborted).toBe(true);
    client.socket.destroy();
  });

  it('A client that resets its request before it is admitted ends it', async () => {
    let isAsked = false;
    const authenticate = (): Promise<never> => {
      isAsked = true;
      return new Promise(() => {});
    };
    world = await serveTlsGateway({ core: { authenticator: { authenticate } } });
    const client = await FrameClient.open();
    client.send(get(1));
    await until(() => isAsked);
    client.send(reset(1));
    await until(() => world.audited.length === 1);
    expect(world.audited[0]).toMatchObject({ isComplete: false });
    client.socket.destroy();
  });

  it('The end of a connection ends all its requests', async () => {
    world = await serveTlsGateway();
    world.answer = (_request, response) => response.flushHeaders();
    const client = await FrameClient.open();
    client.send(get(1), get(3));
    await until(() => world.exchanges.live.size === 2);
    client.socket.destroy();
    await until(() => world.audited.length === 2);
    expect(world.audited.map(({ isComplete }) => isComplete)).toEqual([false, false]);
    expect(world.exchanges.live.size).toBe(0);
  });

  it('A client that breaks a rule reads GOAWAY before the connection ends', async () => {
    world = await serveTlsGateway();
    const client = await FrameClient.open();
    client.send(ping(Buffer.alloc(1)));
    const { payload } = await client.until(({ type }) => type === frameTypes.goaway);
    expect(payload.readUInt32BE(4)).toBe(6);
    await client.untilClosed();
  });

  it('A client that breaks a rule and does not close is closed after 5 s', async () => {
    const clock = new VirtualClock();
    world = await serveTlsGateway({ clock });
    const client = await FrameClient.open();
    client.socket.allowHalfOpen = true;
    client.send(ping(Buffer.alloc(1)));
    await once(client.socket, 'end');
    await clock.advance(goAwayTimeoutMs - 1);
    const sendAWhile = async (): Promise<void> => {
      for (let turn = 0; turn < 50 && !client.isClosed; turn++) {
        client.send(get(2 * turn + 1));
        await new Promise(setImmediate);
      }
    };
    await sendAWhile();
    expect(client.isClosed).toBe(false);
    await clock.advance(1);
    while (!client.isClosed) await sendAWhile();
    expect(world.audited).toEqual([]);
  });

  it('A client that begins a head and does not end it is closed in time', async () => {
    const clock = new VirtualClock();
    world = await serveTlsGateway({ clock });
    const idle = await FrameClient.open();
    const idleTimers = clock.pendingTimers;
    const client = await FrameClient.open();
    client.send(get(1).subarray(0, 20));
    await until(() => clock.pendingTimers > idleTimers);
    client.send(get(1).subarray(20));
    await client.untilEnd(1);
    expect(clock.pendingTimers).toBe(idleTimers);
    client.send(get(3).subarray(0, 20));
    await until(() => clock.pendingTimers > idleTimers);
    await clock.advance(headTimeoutMs);
    await client.untilClosed();
    expect(idle.isClosed).toBe(false);
    idle.socket.destroy();
  });
});

describe('A stranger with a connection of HTTP/2', () => {
  const getWith = (stream: number, token: string): Buffer =>
    headers(stream, head('GET', plainField('authorization', `Bearer ${token}`)), endStream);

  it('A stranger that reads its refusals keeps its connection', async () => {
    const clock = new VirtualClock();
    world = await serveTlsGateway({ clock, core: { clock, authenticator: knowsGoodToken } });
    const client = await FrameClient.open();
    client.send(getWith(1, 'bad'));
    await client.untilEnd(1);
    await until(() => world.audited.length === 1);
    expect(world.audited[0]).toMatchObject({ code: 401 });
    await clock.advance(60_000);
    client.send(getWith(3, 'good'));
    await client.untilEnd(3);
    client.socket.destroy();
  });

  it('A connection whose request is being answered is not closed for one that waits', async () => {
    const asked = Promise.withResolvers<void>();
    const authenticate = (): Promise<never> => {
      asked.resolve();
      return new Promise(() => {});
    };
    world = await serveTlsGateway({
      core: { authenticator: { authenticate } },
      limits: { maxUnauthenticated: 1, maxUnauthenticatedPerAddress: 1 },
    });
    const busy = await FrameClient.open();
    busy.send(get(1));
    await asked.promise;
    const { host, port } = world.gateway.address;
    const waiting = connectTcp({ host, port });
    waiting.on('error', () => {});
    await once(waiting, 'close');
    expect(busy.isClosed).toBe(false);
    busy.socket.destroy();
  });
});

describe('The drain of connections of HTTP/2', () => {
  it('A request that was on its way when the drain began is served', async () => {
    world = await serveTlsGateway();
    const client = await FrameClient.open();
    const drained = world.gateway.drain(new AbortController().signal);
    const { payload } = await client.until(isPing);
    client.send(get(1));
    await client.untilEnd(1);
    expect(client.isClosed).toBe(false);
    client.send(Buffer.from(ping(payload)).fill(ack, 4, 5));
    await drained;
    await client.untilClosed();
    const goAways = client.frames.filter(({ type }) => type === frameTypes.goaway);
    expect(goAways.map((frame) => frame.payload.readUInt32BE())).toEqual([0x7fff_ffff, 1]);
  });

  it('An open request goes on, and its connection ends behind its answer', async () => {
    world = await serveTlsGateway();
    const finish = Promise.withResolvers<() => void>();
    world.answer = (_request, response) => finish.resolve(() => response.end('whole'));
    const session = connectHttp2(world.gateway.url, { rejectUnauthorized: false });
    session.on('error', () => {});
    const stream = session.request({ ':path': '/c1/a' });
    const end = await finish.promise;
    const drained = world.gateway.drain(new AbortController().signal);
    await once(session, 'goaway');
    end();
    expect(String(Buffer.concat((await stream.toArray()) as Buffer[]))).toBe('whole');
    await drained;
    session.destroy();
  });

  it('A client that does not answer GOAWAY holds up the drain for 5 s', async () => {
    const clock = new VirtualClock();
    world = await serveTlsGateway({ clock });
    const client = await FrameClient.open();
    let isDrained = false;
    const drained = world.gateway
      .drain(new AbortController().signal)
      .then(() => (isDrained = true));
    await client.until(isPing);
    await clock.advance(goAwayTimeoutMs - 1);
    expect(isDrained).toBe(false);
    await clock.advance(1);
    await drained;
    await client.untilClosed();
  });

  it('The end of the drain time cuts requests', async () => {
    world = await serveTlsGateway();
    world.answer = (_request, response) => void response.write('part');
    const client = await FrameClient.open();
    client.send(get(1));
    await client.until(({ type }) => type === frameTypes.data);
    const limit = new AbortController();
    const drained = world.gateway.drain(limit.signal);
    await client.until(isPing);
    limit.abort();
    await drained;
    await client.untilClosed();
    const last = client.frames.filter(({ stream }) => stream === 1).at(-1);
    expect(last).toMatchObject({ type: frameTypes.reset });
    expect(world.exchanges.live.size).toBe(0);
  });
});
