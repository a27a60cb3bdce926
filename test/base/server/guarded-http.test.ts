import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ConnectionGuard } from '../../../src/base/server/connection-guard.ts';
import type { ConnectionLimits } from '../../../src/base/server/connection-limits.ts';
import { guardedServerOptions, guardHttpServer } from '../../../src/base/server/guarded-http.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { TrustedProxies } from '../../../src/base/server/trusted-proxies.ts';

const generous: ConnectionLimits = {
  maxConnections: 100,
  maxUnauthenticated: 100,
  maxUnauthenticatedPerAddress: 100,
  requestTimeoutMs: 60_000,
  answerTimeoutMs: 60_000,
};
const request = 'GET /path HTTP/1.1\r\nHost: test\r\n\r\n';

describe('guardHttpServer', () => {
  const ends = new AsyncDisposableStack();
  const sockets: Socket[] = [];
  let server: Server;
  let guard: ConnectionGuard;
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    guard[Symbol.dispose]();
    server.close();
    server.closeAllConnections();
    await ends.disposeAsync();
  });

  async function serve(
    limits: Partial<ConnectionLimits>,
    onRequest: RequestListener,
    trustedProxies?: TrustedProxies,
  ): Promise<void> {
    server = createServer(guardedServerOptions);
    guard = guardHttpServer(server, {
      limits: { ...generous, ...limits },
      listener: 'test',
      log: silentLogger,
      trustedProxies,
      onRequest,
      onUpgrade: ({ socket }) => guard.authenticated(socket),
    });
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
  }

  async function open(
    from = '127.0.0.1',
    { to = '127.0.0.1', fromPort }: { to?: string; fromPort?: number } = {},
  ): Promise<Socket> {
    const { port } = server.address() as AddressInfo;
    const socket = connect({
      ...{ host: to, port, localAddress: from },
      ...(fromPort !== undefined && { localPort: fromPort }),
    });
    socket.on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  const isClosed = async (socket: Socket): Promise<void> => {
    await expect.poll(() => socket.resume().destroyed, { timeout: 10_000 }).toBe(true);
  };

  it('A guarded server answers a second request after the first, and closes the connection at a third', async () => {
    const started: string[] = [];
    const answers: (() => void)[] = [];
    await serve({}, (message, response) => {
      started.push(message.url!);
      answers.push(() => response.end(message.url));
    });
    const patient = await open();
    patient.write(request.replace('/path', '/1') + request.replace('/path', '/2'));
    await expect.poll(() => started).toEqual(['/1']);
    answers[0]!();
    await expect.poll(() => started).toEqual(['/1', '/2']);
    answers[1]!();
    let received = '';
    patient.on('data', (bytes: Buffer) => (received += bytes.toString()));
    await expect.poll(() => received).toMatch(/\/1[^]*\/2/);

    const greedy = await open();
    greedy.write(request.repeat(3));
    await isClosed(greedy);
    expect(started).toHaveLength(3);
    expect(guard.refusals).toEqual(new Map([['pipelined', 1]]));
  });

  it('A guarded server closes a connection whose client does not read the answer', async () => {
    const answer = Buffer.alloc(64 * 1024 * 1024);
    await serve({ answerTimeoutMs: 500 }, (_, response) => response.end(answer));
    const socket = await open();
    socket.pause();
    socket.write(request);
    await expect.poll(() => guard.refusals.get('slow_answer'), { timeout: 10_000 }).toBe(1);
    expect(guard.count).toBe(0);
  });

  it('A guarded server closes the connection that has waited longest when one address has too many', async () => {
    await serve({ maxUnauthenticatedPerAddress: 2 }, (_, response) => response.end());
    const first = await open('127.0.0.2');
    await open('127.0.0.2');
    const honest = await open('127.0.0.3');
    await open('127.0.0.2');
    await isClosed(first);
    expect(guard.refusals).toEqual(new Map([['address', 1]]));
    expect([guard.count, honest.destroyed]).toEqual([3, false]);
  });

  it('A guarded server does not count connections of trusted proxies by their address', async () => {
    const proxies = TrustedProxies.parse('127.0.0.2');
    await serve({ maxUnauthenticatedPerAddress: 1 }, (_, response) => response.end(), proxies);
    for (let at = 0; at < 5; at++) await open('127.0.0.2');
    const first = await open('127.0.0.3');
    await open('127.0.0.3');
    await isClosed(first);
    expect(guard.count).toBe(6);
  });

  it('A guarded server keeps connections that are being answered, or have shown a credential', async () => {
    await serve({ maxUnauthenticated: 2 }, () => {});
    const upgraded = await open();
    upgraded.write(request.replace('Host', 'Connection: Upgrade\r\nUpgrade: test\r\nHost'));
    await expect.poll(() => [guard.count, guard.unauthenticatedCount]).toEqual([1, 0]);
    const answering = await open();
    answering.write(request);
    const waiting = await open();
    await expect.poll(() => guard.unauthenticatedCount).toBe(2);
    await open();
    await isClosed(waiting);
    expect([upgraded.destroyed, answering.destroyed]).toEqual([false, false]);
    expect(guard.refusals).toEqual(new Map([['unauthenticated', 1]]));
  });

  it('A guarded server never has more connections than its limit', async () => {
    await serve({ maxConnections: 5 }, (_, response) => response.end());
    for (let at = 0; at < 20; at++) {
      await open();
      expect(guard.count).toBeLessThanOrEqual(5);
    }
    await expect.poll(() => guard.refusals.get('total')).toBe(15);
    expect(guard.count).toBe(5);
  });

  it('A guarded server tells connections from one port of a client apart by its own addresses', async () => {
    await serve({}, (message, response) => response.end(message.url));
    const first = await open('127.0.0.2');
    const second = await open('127.0.0.2', { to: '127.0.0.3', fromPort: first.localPort! });
    await expect.poll(() => guard.count).toBe(2);
    second.destroy();
    await expect.poll(() => guard.count).toBe(1);
    first.write(request);
    const [answer] = (await once(first, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('A guarded server answers a client that connects from the port of a connection it has cut', async () => {
    await serve({}, (message, response) => response.end(message.url));
    const cut = await open('127.0.0.2');
    await expect.poll(() => guard.count).toBe(1);
    const fromPort = cut.localPort!;
    // The server learns of both in one turn, and perhaps of the new connection first.
    cut.resetAndDestroy();
    const again = await open('127.0.0.2', { fromPort });
    again.write(request);
    const [answer] = (await once(again, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    expect(guard.count).toBe(1);
  });

  it('A guarded server refuses a body, and a client that sends all of it before it reads gets the answer', async () => {
    await serve({}, (_, response) => response.end());
    const socket = await open();
    const bodyBytes = 8 * 1024 ** 2;
    socket.write(`POST /path HTTP/1.1\r\nHost: test\r\nContent-Length: ${bodyBytes}\r\n\r\n`);
    const piece = Buffer.alloc(64 * 1024);
    for (let sent = 0; sent < bodyBytes && !socket.destroyed; sent += piece.length) {
      await new Promise<void>((resolve) => void socket.write(piece, () => resolve()));
    }
    let answer = '';
    socket.on('data', (bytes: Buffer) => (answer += bytes.toString()));
    await new Promise((resolve) => socket.on('close', resolve));
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*no request of this server has a body"\}$/);
  });

  it('A guarded server answers a request whose body has an unknown encoding', async () => {
    await serve({}, (_, response) => response.end());
    const socket = await open();
    socket.write('POST /path HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: xchunked\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('A guarded server closes the connection of a client that does not send the rest of a refused body', async () => {
    await serve({}, (_, response) => response.end());
    const socket = await open();
    socket.write('POST /path HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nxyz');
    await isClosed(socket);
    await expect.poll(() => guard.count).toBe(0);
  });
});
