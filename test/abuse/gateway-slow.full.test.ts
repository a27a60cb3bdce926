import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientPreface, headers, settings } from '../../testkit/http2/frames.ts';
import { indexedField, plainField } from '../../testkit/http2/hpack-bytes.ts';
import { RawClient } from '../gateway/raw-client.ts';
import { type ServedGateway, serveTlsGateway } from '../gateway/served-gateway.ts';
import { knowsGoodToken } from '../gateway/test-gateway.ts';

/** The limits of the gateway are scaled down, so that connections end in seconds. */
const headTimeoutMs = 2_000;
const maxUnauthenticated = 120;
const maxPerAddress = 60;
/** More connections than one address may have without a credential. */
const attackers = 2 * maxPerAddress;
const trickleEveryMs = 20;

const stack = new AsyncDisposableStack();
let world: ServedGateway;

beforeAll(async () => {
  world = stack.use(
    await serveTlsGateway({
      limits: {
        ...{ headTimeoutMs, maxUnauthenticated },
        maxUnauthenticatedPerAddress: maxPerAddress,
      },
      core: {
        authenticator: knowsGoodToken,
      },
    }),
  );
});
afterAll(() => stack.disposeAsync());

const openTcp = (): Socket => connectTcp(world.gateway.address);

function openTls(protocol: 'h2' | 'http/1.1'): Socket {
  const options = { rejectUnauthorized: false, ALPNProtocols: [protocol] };
  return connectTls({ ...world.gateway.address, ...options });
}

/** The first bytes of a TLS handshake, which promise 508 more. */
const partialHello = Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
const longHead = `GET /c1/version HTTP/1.1\r\nHost: a\r\nX-Long: ${'a'.repeat(10_000)}`;
const post = (token: string): string =>
  `POST /c1/api HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Length: 10000\r\n\r\n`;
const http2Fields = [
  // :method POST and :scheme https.
  indexedField(3),
  indexedField(7),
  plainField(':path', '/c1/version'),
  plainField(':authority', 'a'),
  plainField('authorization', 'Bearer bad'),
];
const http2Start = Buffer.concat([clientPreface, settings()]);
const http2Head = headers(1, Buffer.concat(http2Fields), 0x4);
const pings = Buffer.concat(
  Array<Buffer>(600).fill(Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])),
);

interface Attack {
  readonly open: () => Socket;
  /** Sent at once. */
  readonly first?: string | Buffer;
  /** Sent a byte at a time. */
  readonly slowly?: string | Buffer;
}

const attacks: readonly (readonly [what: string, attack: Attack])[] = [
  ['connections without a byte', { open: openTcp }],
  ['TLS handshakes that never finish', { open: openTcp, slowly: partialHello }],
  ['idle connections of HTTP/1.1', { open: () => openTls('http/1.1') }],
  [
    'heads of HTTP/1.1 that come byte by byte',
    { open: () => openTls('http/1.1'), slowly: longHead },
  ],
  [
    'refused bodies of HTTP/1.1 that come byte by byte',
    { open: () => openTls('http/1.1'), first: post('bad'), slowly: 'a'.repeat(9_000) },
  ],
  ['idle connections of HTTP/2', { open: () => openTls('h2'), first: http2Start }],
  [
    'heads of HTTP/2 that come byte by byte',
    { open: () => openTls('h2'), first: http2Start, slowly: http2Head.subarray(0, -1) },
  ],
  [
    'PINGs of HTTP/2 that come byte by byte',
    { open: () => openTls('h2'), first: http2Start, slowly: pings },
  ],
  [
    'refused bodies of HTTP/2 that come byte by byte',
    {
      open: () => openTls('h2'),
      first: Buffer.concat([http2Start, http2Head]),
      slowly: Buffer.concat([Buffer.from([0, 0x23, 0x28, 0, 0, 0, 0, 0, 1]), Buffer.alloc(8_999)]),
    },
  ],
];

/** Opens a slow connection; resolves when the gateway has ended it. */
async function attackWith({ open, first = '', slowly = '' }: Attack): Promise<void> {
  const socket = open();
  socket.on('error', () => {}).resume();
  const closed = new Promise((resolve) => void socket.once('close', resolve));
  if (first !== '') socket.write(first);
  const bytes = Buffer.from(slowly);
  let at = 0;
  const trickle = setInterval(() => {
    if (at < bytes.length) socket.write(bytes.subarray(at, ++at));
  }, trickleEveryMs);
  await closed;
  clearInterval(trickle);
}

/** An honest user on a connection of its own. @throws Error it is not served */
async function beHonest(): Promise<void> {
  const { address } = world.gateway;
  const client = new RawClient(address, connectTls({ ...address, rejectUnauthorized: false }));
  client.send(
    'GET /c1/version HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nConnection: close\r\n\r\n',
  );
  const text = await client.end();
  if (!text.endsWith('hello')) throw new Error(`an honest user got ${JSON.stringify(text)}`);
}

describe('Slow clients of the gateway', () => {
  it.each(attacks)('All %s end, and a user is served beside them', async (_, attack) => {
    const over = new AbortController();
    const all = Promise.all(Array.from({ length: attackers }, () => attackWith(attack))).finally(
      () => over.abort(),
    );
    do {
      await beHonest();
    } while (!over.signal.aborted);
    expect(await all).toHaveLength(attackers);
  });

  it('A user whose body stalls keeps its connection', async () => {
    const opened = world.exchanges.opened.length;
    const socket = openTls('http/1.1');
    let isClosed = false;
    socket.on('close', () => (isClosed = true)).on('error', () => {});
    world.answer = (request, response) => {
      request.resume();
      response.flushHeaders();
    };
    socket.write(post('good'));
    await once(socket, 'data');
    expect(world.exchanges.opened.length).toBe(opened + 1);
    world.answer = (_request, response) => void response.end('hello');
    // Connections that wait for a request end meanwhile.
    await Promise.all(Array.from({ length: 5 }, () => attackWith({ open: openTcp })));
    expect(isClosed).toBe(false);
    socket.destroy();
  });
});
