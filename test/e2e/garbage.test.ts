import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import type { FrontAccess } from '../../testkit/ground/konnectivity-client.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { openSockets, untilSockets } from '../../testkit/processes/open-files.ts';
import { connectTo, handshakeText } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { startWorld, type World } from '../../testkit/world/world.ts';

/** The documented limit is ten seconds. The rest is for a slow machine. */
const guardMs = 12_000;
/** Often enough to notice a failure, and rare enough to keep the machine free. */
const betweenDialsMs = 100;
const sessionPath = '/v1/clusters/cluster1/session';

/** One world with TLS and one without. Together they have every kind of listener. */
let secure: World;
let plain: World;
let target: TestTarget;

type Kind = 'websocket' | 'grpc' | 'tls';
/** A listener, and how to connect until garbage can be sent. */
interface Door {
  readonly name: string;
  /** The protocol of the listener. */
  readonly kind: Kind;
  open(): Promise<Socket>;
}
const doors: readonly Door[] = [
  { name: 'the broker', kind: 'websocket', open: () => tcp(plain.brokerUrl) },
  { name: 'the TLS of the broker', kind: 'tls', open: () => tcp(secure.brokerUrl) },
  {
    name: 'the broker behind its TLS',
    kind: 'websocket',
    open: () => connectTo(secure.brokerUrl, secure.certificates.server.ca),
  },
  { name: 'the front', kind: 'grpc', open: () => tcp(`tcp://${plain.front.address}`) },
  { name: 'the TLS of the front', kind: 'tls', open: () => tcp(`tcp://${secure.front.address}`) },
  { name: 'the front behind its TLS', kind: 'grpc', open: () => mutualTls(secure.front) },
  { name: 'the Unix socket', kind: 'grpc', open: () => unix(plain.unixFront) },
];

async function tcp(url: string): Promise<Socket> {
  const { hostname: host, port } = new URL(url);
  const socket = connectTcp({ host, port: Number(port) });
  await once(socket, 'connect');
  return socket;
}

async function unix({ address }: FrontAccess): Promise<Socket> {
  const socket = connectTcp(address.replace('unix:', ''));
  await once(socket, 'connect');
  return socket;
}

async function mutualTls({ address, tls }: FrontAccess): Promise<Socket> {
  const { hostname: host, port } = new URL(`tcp://${address}`);
  const [ca, cert, key] = await Promise.all(
    [tls!.serverCa, tls!.client!.cert, tls!.client!.key].map((path) => readFile(path)),
  );
  const ALPNProtocols = ['h2'];
  const servername = 'localhost';
  const socket = connectTls({ host, port: Number(port), ca, cert, key, ALPNProtocols, servername });
  await once(socket, 'secureConnect');
  return socket;
}

const http2Preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
// A record of 512 bytes is announced, of type handshake, with a ClientHello in it; a few bytes of it follow.
const halfClientHello = Buffer.from('1603010200010001fc0303deadbeef', 'hex');

interface Garbage {
  readonly what: string;
  readonly kinds: readonly Kind[];
  bytes(): Uint8Array | string | Promise<string>;
}
const everywhere: readonly Kind[] = ['websocket', 'grpc', 'tls'];
const upgrade = async (headers: Record<string, string>): Promise<string> => {
  const token = await plain.tokens.issue({ kind: 'dialer', name: 'garbage' });
  return handshakeText(sessionPath, { Authorization: `Bearer ${token}`, ...headers });
};
const garbage: readonly Garbage[] = [
  { what: 'nothing', kinds: everywhere, bytes: () => '' },
  { what: 'random bytes', kinds: everywhere, bytes: () => randomBytes(1024) },
  { what: 'half a ClientHello', kinds: everywhere, bytes: () => halfClientHello },
  {
    what: 'an HTTP/1.1 request',
    kinds: ['grpc', 'tls'],
    bytes: () => 'GET / HTTP/1.1\r\nHost: broker.test\r\n\r\n',
  },
  { what: 'half a preface of HTTP/2', kinds: ['grpc'], bytes: () => http2Preface.subarray(0, 9) },
  { what: 'a preface of HTTP/2 alone', kinds: ['grpc'], bytes: () => http2Preface },
  {
    what: 'gRPC',
    kinds: ['websocket', 'tls'],
    bytes: () => Buffer.concat([http2Preface, emptySettings]),
  },
  {
    what: 'half a request',
    kinds: ['websocket'],
    bytes: () => 'GET /v1/agent HTTP/1.1\r\nHost: broker.test\r\nUpgrade: web',
  },
  {
    what: 'a request head without end',
    kinds: ['websocket'],
    bytes: () => `GET / HTTP/1.1\r\n${'X-Header: value\r\n'.repeat(10_000)}\r\n`,
  },
  {
    what: 'a handshake with half a key',
    kinds: ['websocket'],
    bytes: () => upgrade({ 'Sec-WebSocket-Key': 'aGFsZg==' }),
  },
  {
    what: 'a handshake without a key',
    kinds: ['websocket'],
    bytes: () => upgrade({ 'Sec-WebSocket-Key': '' }),
  },
  {
    what: 'a handshake of version 8',
    kinds: ['websocket'],
    bytes: () => upgrade({ 'Sec-WebSocket-Version': '8' }),
  },
  {
    what: 'a handshake for another sub-protocol',
    kinds: ['websocket'],
    bytes: () => upgrade({ 'Sec-WebSocket-Protocol': 'chat' }),
  },
  {
    what: 'a handshake without a sub-protocol',
    kinds: ['websocket'],
    bytes: () => upgrade({ 'Sec-WebSocket-Protocol': '' }),
  },
  {
    what: 'a handshake without a credential',
    kinds: ['websocket'],
    bytes: () => handshakeText('/v1/agent'),
  },
  { what: 'a handshake for h2c', kinds: ['websocket'], bytes: () => upgrade({ Upgrade: 'h2c' }) },
];
const cases = doors.flatMap((door) =>
  garbage
    .filter(({ kinds }) => kinds.includes(door.kind))
    .map((said) => ({ what: said.what, where: door.name, door, said })),
);

/**
 * Sends the garbage, keeps the connection open, and resolves when the other end has closed.
 * @throws Error the other end has not closed in time
 */
async function untilClosed({ door, said }: (typeof cases)[number]): Promise<'closed'> {
  const socket = await door.open();
  const closed = Promise.withResolvers<'closed'>();
  const guard = setTimeout(() => {
    closed.reject(new Error(`still open after ${guardMs} ms`));
    socket.destroy();
  }, guardMs);
  socket.on('error', () => {});
  socket.on('close', () => closed.resolve('closed'));
  socket.resume();
  socket.write(await said.bytes());
  try {
    return await closed.promise;
  } finally {
    clearTimeout(guard);
  }
}

/** The state of one world before the test, and the results of its clients during the test. */
interface Watch {
  readonly world: World;
  readonly client: KonnectivityClient;
  readonly socketsBefore: number;
  served: number;
}

async function watch(world: World): Promise<Watch> {
  const client = await openClient(world.front);
  await isServed(client, `cluster1:${target.port}`);
  return { world, client, socketsBefore: await openSockets(world.broker), served: 0 };
}

describe('Garbage on every port', () => {
  let watches: readonly Watch[] = [];
  const outcomes = new Map<(typeof cases)[number], Promise<'closed'>>();
  const over = new AbortController();
  let serving: Promise<unknown> = Promise.resolve();

  beforeAll(async () => {
    target = await startTarget({ mode: 'echo' });
    [secure, plain] = await Promise.all([startWorld(), startWorld({ plain: true })]);
    watches = [await watch(secure), await watch(plain)];
    // All cases run at once, so that the file takes as long as its slowest case.
    for (const one of cases) {
      const outcome = untilClosed(one);
      outcome.catch(() => {});
      outcomes.set(one, outcome);
    }
    serving = Promise.all(watches.map((one) => keepServing(one)));
    serving.catch(() => {});
  });
  afterAll(async () => {
    for (const { client } of watches) client.close();
    await Promise.all([secure?.[Symbol.asyncDispose](), plain?.[Symbol.asyncDispose]()]);
    await target?.close();
  });

  async function keepServing(one: Watch): Promise<void> {
    while (!over.signal.aborted) {
      if (!(await isServed(one.client, `cluster1:${target.port}`))) throw new Error('not served');
      one.served++;
      await sleep(betweenDialsMs);
    }
  }

  it.each(cases)('A client that sends $what to $where is disconnected', async (one) => {
    expect(await outcomes.get(one)).toBe('closed');
  });

  it('Garbage keeps no honest client from being served', async () => {
    over.abort();
    await serving;
    for (const { served } of watches) expect(served).toBeGreaterThan(0);
  });

  it('Garbage leaves no socket behind in a process that continues to run', async () => {
    for (const { world, client, socketsBefore } of watches) {
      await untilSockets(world.broker, socketsBefore);
      expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
    }
  });
});
