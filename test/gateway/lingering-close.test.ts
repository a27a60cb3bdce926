import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { GatewayError } from '../../src/gateway/gateway-error.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway, serveTlsGateway } from './served-gateway.ts';
import type { TestGatewayOptions } from './test-gateway.ts';

const lingerMs = 2_000;
const bodyBytes = 8 * 1024 ** 2;
const answerText = 'too large';

let world: ServedGateway;
const clients: Socket[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await world[Symbol.asyncDispose]();
});

/** The server refuses every body before it has come. No time passes unless the test wants it. */
async function serve(
  clock = new VirtualClock(),
  start = serveGateway,
  core: TestGatewayOptions = {},
): Promise<void> {
  world = await start({ clock, core });
  world.answer = (_request, response) => {
    response.writeHead(413, { 'Content-Length': answerText.length }).end(answerText);
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

async function connect(isTls = false): Promise<Socket> {
  const { host, port } = world.gateway.address;
  const socket = isTls
    ? connectTls({ host, port, rejectUnauthorized: false })
    : connectTcp({ host, port });
  clients.push(socket);
  await once(socket, isTls ? 'secureConnect' : 'connect');
  return socket;
}

/** Writes a head and all of a body before it reads anything, and returns what it then reads. */
async function writeThenRead(socket: Socket, head: string): Promise<string> {
  socket.on('error', () => {});
  socket.write(head);
  const piece = Buffer.alloc(64 * 1024, 'x');
  for (let sent = 0; sent < bodyBytes && !socket.destroyed; sent += piece.length) {
    await new Promise<void>((resolve) => void socket.write(piece, () => resolve()));
  }
  let text = '';
  socket.setEncoding('latin1').on('data', (part: string) => (text += part));
  await new Promise((resolve) => socket.on('end', resolve).on('close', resolve));
  return text;
}

const head = (version: string, ...fields: readonly string[]): string =>
  [`POST /c1/a HTTP/${version}`, 'Host: a', ...fields, '', ''].join('\r\n');
const length = `Content-Length: ${bodyBytes}`;
const close = 'Connection: close';
const closing = head('1.1', length, close);

describe('An answer of HTTP/1.1 that comes before the body, and ends the connection', () => {
  it.each([
    ['a request with Connection: close', closing, /^HTTP\/1\.1 413 /],
    ['a request of HTTP/1.0', head('1.0', length), /^HTTP\/1\.1 413 /],
    [
      'a request that two parsers read differently',
      head('1.1', length, length, 'Host: b'),
      / 400 /,
    ],
    ['a head that is too long', head('1.1', length, `A: ${'a'.repeat(64 * 1024)}`), / 431 /],
    ['a body that is not valid', head('1.1', 'Transfer-Encoding: chunked'), / 4(?:00|13) /],
    ['a CONNECT', head('1.1').replace('POST /c1/a', 'CONNECT a:1'), / 405 /],
  ])('%s: a client that sends all of its body before it reads gets it', async (_, text, status) => {
    await serve();
    const answer = await writeThenRead(await connect(), text);
    expect(answer).toMatch(status);
    expect(answer).toMatch(/(?:too large|\}\n)$/);
  });

  it('A client over TLS that sends all of its body before it reads gets it', async () => {
    await serve(undefined, serveTlsGateway);
    const answer = await writeThenRead(await connect(true), closing);
    expect(answer).toMatch(/^HTTP\/1\.1 413 [^]*too large$/);
  });

  it('A client whose body was held until its credential was refused gets it', async () => {
    let socket: Socket | undefined;
    const authenticate = async (): Promise<never> => {
      await until(() => socket!.bytesWritten - socket!.writableLength > 1024 ** 2);
      for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
      throw new GatewayError('Unauthorized', 'unknown token');
    };
    await serve(undefined, serveGateway, { authenticator: { authenticate } });
    socket = await connect();
    expect(await writeThenRead(socket, closing)).toMatch(/ 401 [^]*\}\n$/);
  });

  it('A client gets it from a gateway that drains, which waits for the client', async () => {
    await serve();
    const socket = await connect();
    const { answer } = world;
    world.answer = (request, response) => {
      const drained = world.gateway.drain(new AbortController().signal);
      void drained.then(() => socket.destroy());
      answer(request, response);
    };
    expect(await writeThenRead(socket, head('1.1', length))).toMatch(/ 413 [^]*too large$/);
  });

  it('A client that has got it before the drain, and still sends, does not lose it', async () => {
    await serve();
    const socket = await connect();
    const answered = new Promise<void>((resolve) => {
      const { answer } = world;
      world.answer = (request, response) => {
        answer(request, response);
        response.on('close', () => resolve());
      };
    });
    socket.write(head('1.1', length));
    await answered;
    await until(() => world.audited.length === 1);
    void world.gateway.drain(new AbortController().signal);
    expect(await writeThenRead(socket, '')).toMatch(/ 413 [^]*too large$/);
  });

  it('A client that never stops sending loses its connection after answeredLingerMs', async () => {
    const clock = new VirtualClock();
    await serve(clock);
    const client = new RawClient(world.gateway.address);
    clients.push(client.socket);
    let isClosed = false;
    client.socket.on('close', () => (isClosed = true));
    await client.send(closing).end();
    expect(client.text).toMatch(/too large$/);
    for (let elapsedMs = 0; elapsedMs < lingerMs - 1; elapsedMs += 500) {
      const { bytesWritten } = client.socket;
      client.send('x'.repeat(1_000));
      await until(() => client.socket.bytesWritten > bytesWritten);
      await clock.advance(Math.min(500, lingerMs - 1 - elapsedMs));
    }
    expect(isClosed).toBe(false);
    await clock.advance(1);
    await until(() => isClosed || (client.send('x'), false));
  });

  it('A client that closes ends the wait at once', async () => {
    const clock = new VirtualClock();
    await serve(clock);
    const client = new RawClient(world.gateway.address);
    await client.send(closing).end();
    expect(clock.pendingTimers).toBe(1);
    client.socket.end();
    await once(client.socket, 'close');
    await until(() => clock.pendingTimers === 0);
  });

  it('A request that has arrived whole ends its connection without a wait', async () => {
    const clock = new VirtualClock();
    await serve(clock);
    const client = new RawClient(world.gateway.address);
    const answer = await client.send(head('1.1', 'Content-Length: 1', close) + 'x').end();
    expect(answer).toMatch(/too large$/);
    expect(clock.pendingTimers).toBe(0);
    client.socket.destroy();
  });
});
