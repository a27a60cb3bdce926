import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { http2Limits } from '../../../src/agent/http/http2-connection.ts';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import {
  frame,
  frameFlags,
  frameTypes,
  goaway,
  reset,
  settingIds,
  settings,
} from '../../../testkit/http2/frames.ts';
import { AgentWorld, type AwaitedExchange } from './agent-world.ts';
import {
  data,
  head,
  type RawBehaviour,
  type RawConnection,
  RawHttp2Server,
} from './raw-http2-server.ts';

const raw = new RawHttp2Server();
const clock = new VirtualClock();
let world: AgentWorld;
let server: RawBehaviour;

beforeAll(async () => {
  const makeKube = raw.make.bind(raw);
  world = await AgentWorld.start(undefined, () => {}, { makeKube, clock });
});

beforeEach(async () => {
  server = raw.reset();
  await until(() => world.requests.http2ConnectionCount === 0);
  // The agent forgets that the server had no HTTP/2.
  await clock.advance(600_000);
});

afterAll(async () => {
  raw.reset();
  await world[Symbol.asyncDispose]();
});

function watch(headers: readonly (readonly [string, string])[] = []): AwaitedExchange {
  return world.openKube({ path: '/api/v1/pods?watch=true', headers });
}

const ok = [[':status', '200']] as const;

/** Waits until something is true that real sockets bring about. */
async function until(isMet: () => boolean): Promise<void> {
  while (!isMet()) await nextTurn();
}

/**
 * Waits for something that the memory tunnel brings about within this turn of the event loop. A dial
 * that began in this turn is still under way afterwards.
 */
async function inThisTurn(isMet: () => boolean): Promise<void> {
  for (let count = 0; count < 10_000 && !isMet(); count++) await Promise.resolve();
  expect(isMet()).toBe(true);
}

/** A watch whose head has arrived. */
async function opened(): Promise<AwaitedExchange> {
  const exchange = watch();
  await exchange.until(() => exchange.head !== undefined);
  return exchange;
}

describe('A server that breaks HTTP/2', () => {
  const first = 1;
  const withLength = (length: string) => [...ok, ['content-length', length]] as const;
  it.each<[string, Buffer[]]>([
    ['a status of two digits', [head(first, [[':status', '20']], frameFlags.endStream)]],
    ['no status', [head(first, [['a', 'b']], frameFlags.endStream)]],
    ['an unrequested 101', [head(first, [[':status', '101']])]],
    ['a status of another class', [head(first, [[':status', '099']], frameFlags.endStream)]],
    ['a field of one connection', [head(first, [...ok, ['connection', 'x']]), data(first, 'a', 1)]],
    ['a transfer coding', [head(first, [...ok, ['transfer-encoding', 'chunked']])]],
    ['more than its length', [head(first, withLength('3')), data(first, 'abcd', 1)]],
    ['less than its length', [head(first, withLength('9')), data(first, 'abcd', 1)]],
    ['two lengths', [head(first, [...withLength('3'), ['content-length', '4']])]],
    ['a body in front of its head', [data(first, 'abcd', 1)]],
    ['too many fields', [head(first, [...ok, ...manyFields(1_100)], frameFlags.endStream)]],
    ['endless informational heads', Array(60).fill(head(first, [[':status', '103']]))],
    ['an end without a head', [head(first, [[':status', '103']], frameFlags.endStream)]],
    ['a pushed response', [frame(frameTypes.pushPromise, 4, first, Buffer.of(0, 0, 0, 2))]],
    ['a block that is not HPACK', [frame(frameTypes.headers, 5, first, Buffer.of(0xff, 0xff))]],
    ['a response to nobody', [head(77, ok)]],
    ['a frame that is too long', [frame(frameTypes.data, 0, first, Buffer.alloc(100_000))]],
    ['a window over 2^31', [frame(frameTypes.windowUpdate, 0, 0, Buffer.from('7fffffff', 'hex'))]],
    ['bytes of another protocol', [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')]],
    ['a reset in front of its head', [reset(first, 2)]],
    ['a reset without error in the middle', [head(first, ok), data(first, 'ab'), reset(first, 0)]],
    ['a cancel in the middle', [head(first, ok), data(first, 'ab'), reset(first, 8)]],
    ['an internal error in the middle', [head(first, ok), data(first, 'ab'), reset(first, 2)]],
    ['a GOAWAY with an error', [head(first, ok), data(first, 'ab'), goaway(first, 2)]],
  ])(
    'A response with %s is cut with a typed error, and the next watch works',
    async (_, frames) => {
      server.onRequest = (connection, stream, count) => {
        if (count === 1) connection.send(...frames);
        else connection.answer(stream);
      };
      const exchange = watch();
      expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
      expect(exchange.events).not.toContain('end');
      await opened();
    },
  );

  it('A head without an end is cut with a typed error', async () => {
    server.onRequest = (connection, stream, count) => {
      if (count > 1) return connection.answer(stream);
      connection.send(head(stream, ok).fill(0, 4, 5));
      const piece = Buffer.concat(Array<Buffer>(500).fill(Buffer.from('0001610162', 'hex')));
      const more = frame(frameTypes.continuation, 0, stream, piece);
      for (let count = 0; count < 60; count++) connection.send(more);
    };
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
    await opened();
  });

  it.each(['end', 'destroy'] as const)(
    'A connection that ends with %s cuts its watches',
    async (method) => {
      server.onRequest = (connection, stream) => connection.answer(stream, 'part');
      const exchanges = await Promise.all([opened(), opened()]);
      raw.connections[0]!.socket[method]();
      for (const exchange of exchanges) {
        expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
        expect(exchange.events).not.toContain('end');
      }
      expect(world.requests.http2ConnectionCount).toBe(0);
    },
  );

  it('A server that says nothing after the handshake is a timeout', async () => {
    server.onConnection = () => {};
    const exchange = watch();
    await until(() => raw.connections.length > 0 && world.requests.http2ConnectionCount > 0);
    await clock.advance(10_000);
    expect(await exchange.closed).toMatchObject({ code: 'timeout' });
  });

  it('A server that closes after the handshake is a typed error', async () => {
    server.onConnection = ({ socket }) => void socket.end();
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
  });

  it('A server that leaves each time after its SETTINGS is a typed error', async () => {
    server.onConnection = (connection) => connection.send(settings(), goaway(0));
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
  });
});

describe('Connections of HTTP/2', () => {
  it('A connection carries 100 watches, and a further watch gets a further connection', async () => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    await Promise.all(Array.from({ length: 250 }, () => opened()));
    const counts = raw.connections.map(({ streams }) => streams.length);
    expect(counts.toSorted((a, b) => b - a)).toEqual([100, 100, 50]);
    await opened();
    expect(raw.connections).toHaveLength(3);
  });

  it('A connection carries as many watches as the SETTINGS of the server allow', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 2]];
    server.onRequest = (connection, stream) => connection.answer(stream);
    await Promise.all(Array.from({ length: 5 }, opened));
    expect(raw.connections.map(({ streams }) => streams.length)).toEqual([2, 2, 1]);
  });

  it('A watch that has ended makes room for another', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 1]];
    server.onRequest = (connection, stream) => {
      connection.send(head(stream, ok), data(stream, 'all', frameFlags.endStream));
    };
    for (let count = 0; count < 5; count++) {
      const exchange = watch();
      expect(await exchange.closed).toBeUndefined();
      expect(exchange.body).toBe('all');
      await nextTurn();
    }
    expect(raw.connections).toHaveLength(1);
  });

  it('A connection without watches closes after a minute, and one with a watch stays', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 1]];
    server.onRequest = (connection, stream) => connection.answer(stream);
    const [first, second] = await Promise.all([opened(), opened()]);
    second.exchange.reset(new TunnelError('cancelled', 'gone'));
    const [, other] = raw.connections;
    await until(() => other!.types.includes(frameTypes.reset));
    await nextTurn();
    expect(world.requests.http2ConnectionCount).toBe(2);
    const closed = new Promise((resolve) => other!.socket.once('close', resolve));
    // Each step leaves time for the answers to PINGs.
    for (let step = 0; step < 13; step++) {
      await clock.advance(5_000);
      for (let turn = 0; turn < 20; turn++) await nextTurn();
    }
    await closed;
    expect(world.requests.http2ConnectionCount).toBe(1);
    expect(first.error).toBeUndefined();
  });

  it('A connection that the server does not close is closed by the agent after 5 s', async () => {
    server.isClosing = false;
    server.onRequest = (connection, stream) => {
      connection.send(head(stream, ok, frameFlags.endStream | frameFlags.endHeaders));
    };
    await watch().closed;
    const { socket } = raw.connections[0]!;
    const ended = once(socket, 'end');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    // A PING would be answered in real time only.
    for (let step = 0; step < 13; step++) {
      await clock.advance(5_000);
      for (let turn = 0; turn < 20; turn++) await nextTurn();
    }
    await ended;
    await clock.advance(5_000);
    // A half-open socket closes when a write fails.
    const write = setInterval(() => socket.write('x'), 5);
    await closed;
    clearInterval(write);
    expect(socket.destroyed).toBe(true);
  });

  it('A caller that leaves during the dial does not disturb another one', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 1]];
    server.onRequest = (connection, stream) => connection.answer(stream);
    // The tunnel has a session from now on, and the connection has no place for more.
    await opened();
    const leaving = watch();
    const staying = watch();
    await inThisTurn(() => world.requests.openCount === 3);
    leaving.exchange.reset(new TunnelError('cancelled', 'gone'));
    await inThisTurn(() => world.requests.openCount === 2);
    await staying.until(() => staying.head !== undefined);
    expect(raw.connections.map(({ streams }) => streams.length)).toEqual([1, 1]);
  });

  it('A watch is not cut by the end of a dial whose callers have all left', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 1]];
    server.onRequest = (connection, stream) => connection.answer(stream);
    await opened();
    const leaving = [watch(), watch()];
    await inThisTurn(() => world.requests.openCount === 3);
    for (const { exchange } of leaving) exchange.reset(new TunnelError('cancelled', 'gone'));
    await inThisTurn(() => world.requests.openCount === 1);
    await opened();
    expect(raw.connections.map(({ streams }) => streams.length)).toEqual([1, 1]);
  });

  it('A cancelled watch keeps its place for a second, so that the server ends its work', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 1]];
    server.onRequest = (connection, stream) => connection.answer(stream);
    const exchange = await opened();
    exchange.exchange.reset(new TunnelError('cancelled', 'gone'));
    const [connection] = raw.connections;
    await until(() => connection!.types.includes(frameTypes.reset));
    await nextTurn();
    await opened();
    expect(raw.connections).toHaveLength(2);
    await clock.advance(1_000);
    await opened();
    expect(raw.connections.map(({ streams }) => streams.length)).toEqual([2, 1]);
  });

  it.each([
    ['credentials', 'Authorization'],
    ['names of impersonated users', 'Impersonate-User'],
  ])('The tables of HPACK keep no %s', async (_, name) => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    const headers = [
      [name, `Bearer ${'t'.repeat(400)}`],
      ['User-Agent', 'u'.repeat(400)],
    ] as const;
    for (let count = 0; count < 2; count++) {
      const exchange = watch(headers);
      await exchange.until(() => exchange.head !== undefined);
    }
    const [first, second] = raw.connections[0]!.headLengths;
    // The secret comes again, and the name of the program does not.
    expect(second).toBeGreaterThan(200);
    expect(first! - second!).toBeGreaterThan(200);
  });

  it('A watch that the caller leaves is reset with CANCEL', async () => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    const exchange = await opened();
    exchange.exchange.reset(new TunnelError('cancelled', 'gone'));
    const [connection] = raw.connections;
    await until(() => connection!.types.includes(frameTypes.reset));
    await opened();
    expect(raw.connections).toHaveLength(1);
  });
});

describe('A GOAWAY of the server', () => {
  it('An open watch continues, and a further one gets a new connection', async () => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    const open = await opened();
    const [before] = raw.connections;
    before!.send(goaway(before!.streams[0]));
    await until(() => world.requests.http2ConnectionCount === 0);
    await opened();
    expect(raw.connections).toHaveLength(2);
    before!.send(data(before!.streams[0]!, 'event'));
    await open.until(() => open.body === 'event');
    before!.send(data(before!.streams[0]!, '', frameFlags.endStream));
    expect(await open.closed).toBeUndefined();
  });

  it.each([
    ['a GOAWAY', false, (stream: number) => goaway(stream - 2)],
    ['a GOAWAY with an error', true, (stream: number) => goaway(stream - 2, 11)],
    ['REFUSED_STREAM', false, (stream: number) => reset(stream, 7)],
  ])(
    'A watch that %s refuses is sent again on a new connection',
    async (_, endsOthers, refusal) => {
      server.onRequest = (connection, stream, count) => {
        if (count === 2) connection.send(refusal(stream));
        else connection.answer(stream, `answer ${count}`);
      };
      const first = await opened();
      const exchange = watch();
      await exchange.until(() => exchange.body === 'answer 3');
      expect(raw.connections.map(({ streams }) => streams.length)).toEqual([2, 1]);
      expect(endsOthers || first.error === undefined).toBe(true);
    },
  );

  it.each([
    ['a GOAWAY', goaway(0)],
    ['a GOAWAY with an error', goaway(0, 11)],
    ['REFUSED_STREAM', reset(1, 7)],
  ])(
    'A watch that %s refuses is sent again, also if it was the first one of its connection',
    async (_, refusal) => {
      server.onRequest = (connection, stream, count) => {
        if (count <= 2) connection.send(refusal);
        else connection.answer(stream, 'answer');
      };
      const exchange = watch();
      await exchange.until(() => exchange.body === 'answer');
      expect(raw.connections.map(({ streams }) => streams.length)).toEqual([1, 1, 1]);
    },
  );

  it('A watch that the server may have processed before a GOAWAY with an error is cut', async () => {
    server.onRequest = (connection) => connection.send(goaway(1, 11));
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
    expect(raw.connections).toHaveLength(1);
  });

  it('A watch that is refused each time ends with a typed error', async () => {
    server.onRequest = (connection, stream) => connection.send(reset(stream, 7));
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
    expect(raw.connections).toHaveLength(4);
  });

  it('A watch with a head is not sent again', async () => {
    server.onRequest = (connection, stream) => {
      connection.answer(stream, 'part');
      connection.send(reset(stream, 7));
    };
    expect(await watch().closed).toMatchObject({ code: 'target_reset' });
    expect(raw.connections).toHaveLength(1);
  });
});

describe('A PING of the agent', () => {
  it.each([
    ['a connection', frameTypes.ping],
    // node:http2 sends no PING then.
    ['a connection after a GOAWAY', frameTypes.settings],
  ])('The watch of %s that is dead is cut after 45 s without a frame', async (name, type) => {
    server.onRequest = (connection, stream) => connection.answer(stream, 'part');
    const exchange = await opened();
    await exchange.until(() => exchange.body === 'part');
    const [connection] = raw.connections;
    if (name.includes('GOAWAY')) {
      connection!.send(goaway(1));
      await until(() => world.requests.http2ConnectionCount === 0);
    }
    const countOf = () => connection!.types.filter((seen) => seen === type).length;
    const before = countOf();
    server.isAnswering = false;
    await clock.advance(30_000);
    await until(() => countOf() === before + 1);
    await clock.advance(14_000);
    expect(exchange.error).toBeUndefined();
    await clock.advance(1_000);
    expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
    expect(exchange.events).not.toContain('end');
  });

  it.each([
    ['before', frameTypes.ping],
    ['after', frameTypes.settings],
  ])('A connection that answers %s a GOAWAY stays open', async (when, type) => {
    server.onRequest = (connection, stream) => connection.answer(stream, 'part');
    const exchange = await opened();
    const [connection] = raw.connections;
    if (when === 'after') {
      connection!.send(goaway(1));
      await until(() => world.requests.http2ConnectionCount === 0);
    }
    const countOf = () => connection!.types.filter((seen) => seen === type).length;
    const before = countOf();
    for (let round = 1; round <= 4; round++) {
      await clock.advance(30_000);
      await until(() => countOf() === before + round);
      for (let turn = 0; turn < 20; turn++) await nextTurn();
    }
    connection!.send(data(1, 'more'));
    await exchange.until(() => exchange.body === 'partmore');
    expect(exchange.error).toBeUndefined();
  });
});

/** Sends DATA as fast as the windows of the streams and of the connection allow. */
class DataPump {
  readonly sentBytes = new Map<number, number>();
  readonly #connection: RawConnection;
  #allBytes = 0;

  constructor(connection: RawConnection) {
    this.#connection = connection;
  }

  /** Sends at most `most` bytes of a stream, and returns their number. */
  send(stream: number, most: number): number {
    const { grantedBytes } = this.#connection;
    const sent = this.sentBytes.get(stream) ?? 0;
    const ofStream = http2Limits.streamWindowBytes + (grantedBytes.get(stream) ?? 0) - sent;
    const ofAll = 65_535 + (grantedBytes.get(0) ?? 0) - this.#allBytes;
    const bytes = Math.min(most, ofStream, ofAll, 16_384);
    if (bytes <= 0) return 0;
    this.#connection.send(data(stream, Buffer.alloc(bytes)));
    this.sentBytes.set(stream, sent + bytes);
    this.#allBytes += bytes;
    return bytes;
  }

  /** Sends all that the windows of these streams allow, until nothing was allowed for long. */
  async fill(streams: readonly number[], mostBytes: number): Promise<void> {
    for (let quietTurns = 0; quietTurns < 200; quietTurns++) {
      for (const stream of streams) {
        const left = mostBytes - (this.sentBytes.get(stream) ?? 0);
        if (this.send(stream, left) > 0) quietTurns = 0;
      }
      await nextTurn();
    }
  }
}

describe('Readers that stop', () => {
  it('A watch whose reader has stopped stops its server, and no other watch on its connection', async () => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    const stopped = await Promise.all(Array.from({ length: 20 }, opened));
    const other = await opened();
    for (const exchange of stopped) exchange.isReading = false;
    const [connection] = raw.connections;
    const pump = new DataPump(connection!);
    const streams = connection!.streams.slice(0, stopped.length);
    const mostBytes = 4 * 1024 ** 2;
    await pump.fill(streams, mostBytes);
    for (const stream of streams) expect(pump.sentBytes.get(stream)).toBeLessThan(mostBytes);
    const last = connection!.streams.at(-1)!;
    while (other.bodyBytes < mostBytes) {
      pump.send(last, mostBytes - (pump.sentBytes.get(last) ?? 0));
      await nextTurn();
    }
    for (const exchange of stopped) expect(exchange.error).toBeUndefined();
  });

  it('The windows of stopped readers together are smaller than the one of their connection', async () => {
    server.onRequest = (connection, stream) => connection.answer(stream);
    await opened();
    const [connection] = raw.connections;
    await until(() => connection!.grantedBytes.has(0));
    const windowBytes = 65_535 + connection!.grantedBytes.get(0)!;
    expect(windowBytes).toBeGreaterThan(http2Limits.maxStreams * http2Limits.streamWindowBytes);
  });
});

describe('A server without HTTP/2', () => {
  const answer = (socket: TLSSocket): void => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
  };

  it('A watch uses the connection of HTTP/1.1, and the agent remembers that', async () => {
    const offers: (string | false | null)[] = [];
    server.protocols = ['http/1.1'];
    server.onHttp1 = (socket) => {
      offers.push(socket.alpnProtocol);
      answer(socket);
    };
    for (let count = 0; count < 3; count++) {
      const exchange = watch();
      expect(await exchange.closed).toBeUndefined();
      expect(exchange.body).toBe('ok');
    }
    expect(offers).toEqual(['http/1.1']);
    server.protocols = ['h2', 'http/1.1'];
    server.onRequest = (connection, stream) => connection.answer(stream);
    expect(await watch().closed).toBeUndefined();
    await clock.advance(600_000);
    await opened();
    expect(raw.connections).toHaveLength(1);
  });

  it('A watch is sent again if it takes an idle connection of HTTP/1.1 that the server has just closed', async () => {
    server.protocols = ['http/1.1'];
    server.onHttp1 = (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        socket.once('data', () => socket.destroy());
      });
    };
    expect(await world.openKube({ path: '/version' }).closed).toBeUndefined();
    server.onHttp1 = answer;
    const watches = [watch(), watch()];
    const errors = await Promise.all(watches.map(({ closed }) => closed));
    expect(errors).toEqual([undefined, undefined]);
  });

  it('A server that allows no stream gets HTTP/1.1', async () => {
    server.settings = [[settingIds.maxConcurrentStreams, 0]];
    server.onHttp1 = answer;
    const exchange = watch();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.body).toBe('ok');
    expect(raw.connections).toHaveLength(1);
  });
});

function manyFields(count: number): (readonly [string, string])[] {
  return Array.from({ length: count }, (_, at) => [`x-${at}`, 'y'] as const);
}
