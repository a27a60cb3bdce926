import { createHash, randomBytes } from 'node:crypto';
import { type IncomingMessage, request as httpRequest, type RequestOptions } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway } from './served-gateway.ts';

let world: ServedGateway;
beforeAll(async () => (world = await serveGateway()));
afterAll(() => world[Symbol.asyncDispose]());

const raw = (): RawClient => new RawClient(world.gateway.address);
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

function start(path: string, options: RequestOptions = {}) {
  const { host, port } = world.gateway.address;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = httpRequest({ host, port, path, agent: false, ...options }, resolve);
  request.on('error', reject);
  return { request, response: promise };
}

async function send(path: string, options: RequestOptions = {}, body: string | Buffer = '') {
  const { request, response } = start(path, options);
  request.end(body);
  const message = await response;
  const pieces: Buffer[] = [];
  for await (const piece of message) pieces.push(piece as Buffer);
  return { message, body: Buffer.concat(pieces), status: message.statusCode };
}

describe('A gateway over HTTP/1.1', () => {
  it('A gateway forwards a request and its answer', async () => {
    world.answer = (request, response) => {
      response.setHeader('X-Seen', [request.url!, request.headers.host!]);
      response.end('hello');
    };
    const { status, body, message } = await send('/c1/version?a=b%2Fc', {
      headers: { Host: 'my.host' },
    });
    expect({ status, body: String(body) }).toEqual({ status: 200, body: 'hello' });
    expect(message.headers['x-seen']).toBe('/version?a=b%2Fc, my.host');
    expect(world.audited.at(-1)).toMatchObject({ cluster: 'c1', code: 200, isComplete: true });
  });

  it('A gateway answers a Status when the URL names no cluster', async () => {
    const { status, body } = await send('/version');
    expect(status).toBe(400);
    expect(JSON.parse(String(body))).toMatchObject({
      kind: 'Status',
      reason: 'BadRequest',
      code: 400,
      details: { causes: [{ reason: 'FailedHop', field: 'client' }] },
    });
  });

  it('An exchange that fails before its head becomes a Status', async () => {
    world.answer = () =>
      setImmediate(() => world.exchanges.cut(new TunnelError('no_agent', 'no agent')));
    const { status, body, message } = await send('/c1/version');
    expect(status).toBe(503);
    expect(message.headers['retry-after']).toBe('1');
    expect(String(body)).toContain('no agent of this cluster is connected');
  });

  it('Large bodies pass both ways unchanged', async () => {
    const sent = randomBytes(3_000_000);
    world.answer = (request, response) => {
      const hash = createHash('sha256');
      request.on('data', (piece: Buffer) => hash.update(piece));
      request.on('end', () => {
        response.setHeader('X-Hash', hash.digest('hex'));
        response.end(sent);
      });
    };
    for (const headers of [{}, { 'Content-Length': sent.length }]) {
      const { body, message } = await send('/c1/a', { method: 'PUT', headers }, sent);
      expect(message.headers['x-hash']).toBe(createHash('sha256').update(sent).digest('hex'));
      expect(body.equals(sent)).toBe(true);
    }
  });

  it('A reader that stops stalls its server', async () => {
    let written = 0;
    world.answer = (request, response) => {
      if (request.url === '/beside') {
        response.end();
        return;
      }
      const piece = Buffer.alloc(64 * 1024);
      const more = (): void => {
        for (let isRoom = true; isRoom && written < 64 * 1024 ** 2;) {
          written += piece.length;
          isRoom = response.write(piece);
        }
      };
      response.on('drain', more);
      more();
    };
    const client = raw();
    client.send(get('/c1/a'));
    await client.until('\r\n\r\n');
    client.socket.pause();
    // Bytes that can pass do so while other requests make their way.
    for (let before = -1; before !== written;) {
      before = written;
      for (let count = 0; count < 20; count++) await send('/c1/beside');
    }
    expect(written).toBeLessThan(32 * 1024 ** 2);
    client.socket.destroy();
  });

  it('The first bytes of an answer arrive before the answer ends, and so does its head', async () => {
    let respond = (_text: string): void => {};
    world.answer = (_request, response) => {
      response.flushHeaders();
      respond = (text) => void response.write(text);
    };
    const client = raw().send(get('/c1/api/v1/pods?watch=1'));
    await client.until('\r\n\r\n');
    respond('event 1');
    await client.until('event 1');
    respond('event 2');
    expect(await client.until('event 2')).not.toContain('\r\n0\r\n');
    client.socket.destroy();
  });

  it('Trailers pass in both directions', async () => {
    world.answer = (request, response) => {
      request.resume().on('end', () => {
        response.write('x');
        response.addTrailers({ 'X-Back': String(request.trailers['x-sum']) });
        response.end();
      });
    };
    const client = raw().send(
      'POST /c1/a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '1\r\nx\r\n0\r\nX-Sum: 7\r\n\r\n',
    );
    expect(await client.end()).toContain('X-Back: 7\r\n');
  });

  it('A client that expects 100 gets it from the server', async () => {
    world.server.once('checkContinue', (request, response) => {
      response.writeContinue();
      request.resume().on('end', () => response.end('taken'));
    });
    const client = raw().send(
      'POST /c1/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n',
    );
    await client.until('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('ok');
    expect(await client.end()).toContain('taken');
  });

  it('A server that does not want the body answers without 100', async () => {
    world.server.once('checkContinue', (_request, response) => {
      response.writeHead(413, { 'Content-Length': '0' }).end();
    });
    const client = raw().send(
      'POST /c1/a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
    );
    expect(await client.end()).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('The answer to HEAD has a length and no body', async () => {
    world.answer = (_request, response) => {
      response.setHeader('Content-Length', '5');
      response.end();
    };
    const { status, body, message } = await send('/c1/a', { method: 'HEAD' });
    expect([status, body.length, message.headers['content-length']]).toEqual([200, 0, '5']);
    const refused = await send('/nothing', { method: 'HEAD' });
    expect([refused.status, refused.body.length]).toEqual([400, 0]);
  });

  it('A connection is reused for the next request', async () => {
    world.answer = (_request, response) => void response.end('hello');
    const client = raw().send(get('/c1/a'));
    await client.until('hello');
    client.send(get('/c1/b').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    expect((await client.end()).match(/hello/g)).toHaveLength(2);
  });

  it('A client of HTTP/1.0 is served', async () => {
    world.answer = (_request, response) => void response.end('hello');
    expect(await raw().send('GET /c1/a HTTP/1.0\r\n\r\n').end()).toMatch(/hello$/);
  });
});

describe('A cut of one side', () => {
  it.each([
    ['chunked', {}],
    ['of known length', { 'Content-Length': '100' }],
  ])('An answer, %s, whose exchange is cut is cut for the client', async (_name, headers) => {
    world.answer = (_request, response) => void response.writeHead(200, headers).write('part');
    const { request, response } = start('/c1/x');
    request.end();
    const message = await response;
    message.once('data', () => world.exchanges.cut(new TunnelError('agent_lost', 'gone')));
    await expect(message.toArray()).rejects.toThrow('aborted');
    expect(world.audited.at(-1)).toMatchObject({ code: 200, isComplete: false });
  });

  it('An answer of unknown length to HTTP/1.0 is cut with a reset', async () => {
    world.answer = (_request, response) => void response.write('part');
    const client = raw();
    const failed = new Promise<NodeJS.ErrnoException>((resolve) =>
      client.socket.on('error', resolve),
    );
    client.send('GET /c1/a HTTP/1.0\r\n\r\n');
    await client.until('part');
    world.exchanges.cut(new TunnelError('agent_lost', 'gone'));
    expect((await failed).code).toBe('ECONNRESET');
  });

  it('A client that leaves resets its exchange', async () => {
    const left = Promise.withResolvers<void>();
    world.answer = (request, response) => {
      response.write('part');
      request.on('close', () => left.resolve());
    };
    const client = raw().send(get('/c1/a'));
    await client.until('part');
    client.socket.destroy();
    await left.promise;
    expect(world.exchanges.live.size).toBe(0);
  });
});

describe('An upgrade over HTTP/1.1', () => {
  const upgrade = (protocol: string): string =>
    `GET /c1/api/v1/namespaces/n/pods/p/exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`;
  const switching = (protocol: string): string =>
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nX-Stream: v4\r\n\r\n`;

  it.each(['websocket', 'SPDY/3.1'])('Bytes of %s pass, with half-close', async (protocol) => {
    world.server.once('upgrade', (request, socket) => {
      socket.write(`${switching(request.headers.upgrade!)}hello`);
      let text = '';
      socket.on('data', (piece: Buffer) => (text += String(piece)));
      socket.on('end', () => socket.end(`got ${text}`));
    });
    // Bytes behind the head belong to the new protocol.
    const client = raw().send(`${upgrade(protocol)}early,`);
    await client.until('hello');
    client.send('late');
    client.socket.end();
    const text = await client.end();
    expect(text).toContain(`Upgrade: ${protocol}\r\n`);
    expect(text).toContain('X-Stream: v4\r\n');
    expect(text).toMatch(/hellogot early,late$/);
  });

  it('A refused upgrade is an ordinary answer', async () => {
    world.server.once('upgrade', (_request, socket) => {
      socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    });
    const text = await raw().send(upgrade('websocket')).end();
    expect(text).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(text).toMatch(/\r\n\r\nno$/);
  });

  it('A change to a protocol that the client did not ask for is refused', async () => {
    world.server.once('upgrade', (_request, socket) => socket.write(switching('h2c')));
    const text = await raw().send(upgrade('websocket')).end();
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
  });

  it('An upgraded connection whose exchange is cut ends', async () => {
    world.server.once('upgrade', (_request, socket) => {
      socket.on('error', () => {});
      socket.write(`${switching('websocket')}hello`);
    });
    const client = raw().send(upgrade('websocket'));
    await client.until('hello');
    world.exchanges.cut(new TunnelError('agent_lost', 'gone'));
    await client.end();
    expect(world.audited.at(-1)).toMatchObject({
      code: 101,
      isComplete: false,
      isLongRunning: true,
    });
  });
});
