import { afterEach, describe, expect, it } from 'vitest';
import type { RequestAuthenticator } from '../../src/access/request-authenticator.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway, type ServedGatewayOptions } from './served-gateway.ts';

let world: ServedGateway;
afterEach(() => world[Symbol.asyncDispose]());

async function connect(options: ServedGatewayOptions = {}): Promise<RawClient> {
  world = await serveGateway(options);
  return new RawClient(world.gateway.address);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

/** An authenticator that answers when the test wants. */
function slowAuthenticator() {
  const { promise: allowed, resolve: allow } = Promise.withResolvers<void>();
  const authenticator: RequestAuthenticator = {
    authenticate: async () => {
      await allowed;
      return { kind: 'forward', subject: undefined };
    },
  };
  return { authenticator, allow };
}

/** Answers with the body of the request. */
function echo(world: ServedGateway): void {
  world.answer = (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => response.end(Buffer.concat(pieces)));
  };
}

const get = 'GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n';
const lastGet = 'GET /c1/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
const post = (length: number): string =>
  `POST /c1/a HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;

describe('A connection of HTTP/1.1', () => {
  it('A body that comes before the request is admitted passes whole and in order', async () => {
    const { authenticator, allow } = slowAuthenticator();
    const client = await connect({ core: { authenticator } });
    echo(world);
    const body = Array.from({ length: 200_000 }, (_, at) => String.fromCharCode(97 + (at % 26)));
    client.send(`${post(body.length)}${body.join('')}`);
    // All connections are read into the same memory.
    const other = new RawClient(world.gateway.address).send(get.repeat(1_000));
    await until(() => other.socket.bytesWritten === get.length * 1_000);
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    allow();
    await client.until('\r\n\r\n');
    client.send(lastGet);
    const text = await client.end();
    expect(text.includes(body.join(''))).toBe(true);
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
  });

  it('A client whose request is not admitted yet cannot send all of a large body', async () => {
    const { authenticator, allow } = slowAuthenticator();
    let asked = 0;
    const client = await connect({
      core: {
        authenticator: {
          authenticate: (...call) =>
            asked++ === 0
              ? authenticator.authenticate(...call)
              : Promise.resolve({ kind: 'forward', subject: undefined }),
        },
      },
    });
    world.answer = (request, response) => {
      request.resume().on('end', () => response.end('hello'));
    };
    const { socket } = client.send(post(64 * 1024 ** 2));
    const piece = Buffer.alloc(64 * 1024);
    for (let at = 0; at < 1024; at++) socket.write(piece);
    const other = new RawClient(world.gateway.address);
    for (let count = 1; count <= 100; count++) {
      other.send(get);
      await until(() => other.text.match(/hello/g)?.length === count);
    }
    expect(socket.writableLength).toBeGreaterThan(32 * 1024 ** 2);
    allow();
    await client.until('hello');
    expect(socket.writableLength).toBe(0);
  });

  it('A head that comes in pieces is served, and its request has no time limit', async () => {
    const clock = new VirtualClock();
    const client = await connect({ clock });
    await client.send(get).until('hello');
    const timers = clock.pendingTimers;
    client.send('GET /c1/a HT');
    await until(() => clock.pendingTimers > timers);
    let finish = (): void => {};
    world.answer = (_request, response) => {
      response.write('part');
      finish = () => void response.end('whole');
    };
    await client.send('TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n').until('part');
    await clock.advance(60_000);
    finish();
    expect(await client.end()).toContain('whole');
  });

  it('A body without length that is complete before the request is admitted passes with trailers', async () => {
    const { authenticator, allow } = slowAuthenticator();
    const client = await connect({ core: { authenticator } });
    world.answer = (request, response) => {
      request.resume().on('end', () => response.end(`sum ${String(request.trailers['x-sum'])}`));
    };
    client.send(
      'POST /c1/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '1\r\nx\r\n0\r\nX-Sum: 7\r\n\r\n',
    );
    await new Promise(setImmediate);
    allow();
    expect(await client.end()).toContain('sum 7');
  });

  it('The rest of a body that its server does not want is not the next request', async () => {
    const client = await connect();
    world.answer = (request, response) => {
      if (request.method === 'GET') response.end('hello');
      else response.writeHead(413, { 'Content-Length': '0', Connection: 'close' }).end();
    };
    client.send(`${post(get.length)}GET /c1`);
    await client.until('HTTP/1.1 413');
    client.send(`${get.slice('GET /c1'.length)}${lastGet}`);
    const text = await client.end();
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(2);
    expect(text).toMatch(/hello/);
    expect(world.exchanges.opened.map(({ head }) => head.path)).toEqual(['/a', '/last']);
  });

  it('A body that is not valid gets a 400, and its exchange is reset', async () => {
    const client = await connect();
    world.answer = () => {};
    client.send('POST /c1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
    await until(() => world.exchanges.live.size === 1);
    client.send(`no length\r\n${get}`);
    const text = await client.end();
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('the body of the request cannot be read');
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(world.exchanges.live.size).toBe(0);
    expect(world.exchanges.opened).toHaveLength(1);
  });

  it('A body that is not valid cuts an answer that has begun', async () => {
    const client = await connect();
    world.answer = (_request, response) => void response.write('part');
    client.send('POST /c1/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n');
    await client.until('part');
    client.send('no length\r\n');
    expect(await client.end()).not.toContain('\r\n0\r\n');
    expect(world.audited.at(-1)).toMatchObject({ code: 200, isComplete: false });
  });

  it('A client that ends its direction ends its exchange', async () => {
    const client = await connect();
    world.answer = (_request, response) => void response.write('part');
    client.send(get);
    await client.until('part');
    client.socket.end();
    await client.end();
    await until(() => world.exchanges.live.size === 0);
    expect(world.audited.at(-1)).toMatchObject({ isComplete: false });
  });

  it('A client that stops within a head loses its connection, and an idle client does not', async () => {
    const clock = new VirtualClock();
    const client = await connect({ clock });
    const idle = new RawClient(world.gateway.address);
    for (const one of [client, idle]) await one.send(get).until('hello');
    const timers = clock.pendingTimers;
    client.send('GET /c1/a HT');
    await until(() => clock.pendingTimers > timers);
    await clock.advance(31_999);
    client.send('TP/1.1\r\n');
    await clock.advance(1);
    await client.end();
    await clock.advance(60_000);
    idle.send(lastGet);
    expect((await idle.end()).match(/hello/g)).toHaveLength(2);
  });

  it('An answer without a length is chunked, and the next answer follows on the connection', async () => {
    const client = await connect();
    world.answer = (_request, response) => {
      response.write('one');
      setImmediate(() => response.end('two'));
    };
    client.send(get + lastGet);
    const text = await client.end();
    expect(text.match(/Transfer-Encoding: chunked\r\n/g)).toHaveLength(2);
    expect(text).toMatch(/3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
    expect(text).toMatch(/Connection: close\r\n/);
  });

  it('An answer whose end comes alone is followed by the next answer', async () => {
    const client = await connect();
    world.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Length': '3' }).flushHeaders();
      setImmediate(() => {
        response.write('one');
        setTimeout(() => response.end(), 5);
      });
    };
    await client.send(get).until('one');
    client.send(lastGet);
    expect((await client.end()).match(/one/g)).toHaveLength(2);
  });

  it('A status without a body has none', async () => {
    const client = await connect();
    world.answer = (request, response) => {
      response.writeHead(request.url === '/last' ? 304 : 204).end();
    };
    const text = await client.send(get + lastGet).end();
    expect(text).toMatch(
      /^HTTP\/1\.1 204 No Content\r\n[^]*\r\n\r\nHTTP\/1\.1 304 Not Modified\r\n/,
    );
    expect(text).not.toContain('chunked');
    expect(text).toMatch(/\r\n\r\n$/);
  });

  it('Early hints pass with their links, and no client gets a 100 that it does not expect', async () => {
    const client = await connect();
    world.answer = (_request, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload', 'x-a': 'b' });
      response.writeProcessing();
      response.writeContinue();
      response.sendDate = false;
      response.end('hello');
    };
    const text = await client.send(lastGet).end();
    expect(text).toMatch(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>; rel=preload\r\n\r\n/i);
    expect(text).toMatch(/\r\n\r\nHTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
    expect(text).not.toContain('x-a');
    expect(text).toMatch(/\r\nDate: .* GMT\r\n/);
    expect(text).toMatch(/hello/);
    const old = new RawClient(world.gateway.address).send('GET /c1/a HTTP/1.0\r\n\r\n');
    expect(await old.end()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it('Empty lines in front of a request are skipped', async () => {
    const client = await connect();
    expect(await client.send(`\r\n\r\n${lastGet}`).end()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it('Nothing behind CONNECT is a request', async () => {
    const client = await connect();
    const text = await client.send(`CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n${get}`).end();
    expect(text).toMatch(/^HTTP\/1\.1 405 /);
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(world.exchanges.opened).toEqual([]);
  });
});
