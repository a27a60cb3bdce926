import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { IncomingMessage } from 'node:http';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateIdentity } from '../../src/access/request-authenticator.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway } from './served-gateway.ts';

let world: ServedGateway;
let certificates: TestCertificates;
let session: ClientHttp2Session;
const seen: (CertificateIdentity | undefined)[] = [];

beforeAll(async () => {
  certificates = await makeTestCertificates();
  const { server, client } = certificates;
  world = await serveGateway({
    tls: { certFile: server.cert, keyFile: server.key, clientCaFile: client.ca },
    core: {
      authenticator: {
        authenticate: async ({ certificate }) => {
          seen.push(certificate);
          return { kind: 'forward', subject: undefined };
        },
      },
    },
  });
  session = connect(world.gateway.url, { rejectUnauthorized: false });
});
afterAll(async () => {
  session.destroy();
  await world[Symbol.asyncDispose]();
  await certificates[Symbol.asyncDispose]();
});

interface Answer {
  readonly headers: Record<string, unknown>;
  readonly body: Buffer;
  readonly trailers: unknown;
}

async function answerTo(stream: ClientHttp2Stream): Promise<Answer> {
  let headers = {};
  let trailers: unknown;
  const pieces: Buffer[] = [];
  stream.on('response', (received) => (headers = received));
  stream.on('trailers', (received) => (trailers = received));
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  await new Promise<void>((resolve, reject) => {
    stream.on('error', reject);
    stream.on('close', resolve);
  });
  return { headers, body: Buffer.concat(pieces), trailers };
}

const get = (path: string, headers = {}): Promise<Answer> =>
  answerTo(session.request({ ':path': path, ...headers }));

describe('A gateway over HTTP/2', () => {
  it('A gateway closes a connection of HTTP/2 that its client has ended', async () => {
    const { hostname, port } = new URL(world.gateway.url);
    const options = { rejectUnauthorized: false, ALPNProtocols: ['h2'], allowHalfOpen: true };
    const socket = connectTls({ ...options, host: hostname, port: Number(port) });
    const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), emptySettings]));
    await once(socket, 'data');
    socket.end();
    await once(socket.resume(), 'end');
    expect(socket.errored).toBeNull();
    socket.destroy();
  });

  it('A gateway forwards a request and its answer over HTTP/2', async () => {
    world.answer = (request, response) => {
      response.setHeader('X-Seen', [request.url!, request.headers.host!, request.headers.cookie!]);
      response.setHeader('Keep-Alive', 'timeout=5');
      response.end('hello');
    };
    const audited = world.audited.length;
    const { headers, body } = await get('/c1/version?a=%2F', { cookie: ['a=1', 'b=2'] });
    expect(String(body)).toBe('hello');
    const { host, port } = world.gateway.address;
    expect(headers).toMatchObject({
      ':status': 200,
      'x-seen': `/version?a=%2F, ${host}:${port}, a=1; b=2`,
    });
    expect(headers['keep-alive']).toBeUndefined();
    expect(headers['connection']).toBeUndefined();
    while (world.audited.length === audited) await new Promise(setImmediate);
    expect(world.audited.at(-1)).toMatchObject({ code: 200, isComplete: true });
  });

  it('Requests of one connection are answered at the same time', async () => {
    world.answer = (_request, response) => void response.end('hello');
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => get(`/c1/${n}`)));
    expect(answers.map(({ body }) => String(body))).toEqual(Array(50).fill('hello'));
  });

  it('Large bodies and trailers pass both ways over HTTP/2', async () => {
    const sent = randomBytes(3_000_000);
    world.answer = (request, response) => {
      response.writeHead(200, { Trailer: 'x-sum' });
      request.pipe(response, { end: false });
      request.on('end', () => {
        response.addTrailers({ 'X-Sum': String(request.trailers['x-sum']) });
        response.end();
      });
    };
    const stream = session.request(
      { ':path': '/c1/a', ':method': 'POST', te: 'trailers' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7' }));
    const answer = answerTo(stream);
    stream.end(sent);
    const { body, trailers } = await answer;
    expect(body.equals(sent)).toBe(true);
    expect(trailers).toMatchObject({ 'x-sum': '7' });
  });

  it('An answer whose exchange is cut resets its stream and no other', async () => {
    world.answer = (_request, response) => void response.write('part');
    const stream = session.request({ ':path': '/c1/a' });
    stream.once('data', () => world.exchanges.cut(new TunnelError('agent_lost', 'gone')));
    await expect(answerTo(stream)).rejects.toThrow('NGHTTP2_INTERNAL_ERROR');
    world.answer = (_request, response) => void response.end('hello');
    expect(String((await get('/c1/a')).body)).toBe('hello');
  });

  it('A stream that its client resets ends its exchange', async () => {
    const left = Promise.withResolvers<void>();
    world.answer = (request, response) => {
      response.write('part');
      request.on('close', () => left.resolve());
    };
    const stream = session.request({ ':path': '/c1/a' });
    stream.on('error', () => {});
    stream.once('data', () => stream.close(constants.NGHTTP2_CANCEL));
    await left.promise;
    expect(world.exchanges.live.size).toBe(0);
  });

  it('A Host that is not the authority is refused', async () => {
    const { headers, body } = await get('/c1/a', { ':authority': 'a', host: 'other' });
    expect(headers[':status']).toBe(400);
    expect(String(body)).toContain('different hosts');
  });

  it('A WebSocket by extended CONNECT passes bytes, with half-close', async () => {
    world.server.once('upgrade', (request, socket) => {
      expect(request.headers['sec-websocket-key']).toHaveLength(24);
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello ',
      );
      socket.on('data', (piece: Buffer) => socket.write(piece));
      socket.on('end', () => socket.end('end'));
    });
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/c1/api/v1/namespaces/n/pods/p/exec',
      ':scheme': 'https',
      ':authority': 'a',
    });
    const answer = answerTo(stream);
    stream.end('bytes ');
    const { headers, body } = await answer;
    expect(headers[':status']).toBe(200);
    expect(headers['sec-websocket-accept']).toBeUndefined();
    expect(String(body)).toBe('hello bytes end');
  });

  it('SPDY over HTTP/2 gets a clear refusal', async () => {
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'spdy/3.1',
      ':path': '/c1/a',
      ':scheme': 'https',
      ':authority': 'a',
    });
    const { headers, body } = await answerTo(stream);
    expect(headers[':status']).toBe(400);
    expect(String(body)).toContain('SPDY/3.1 over HTTP/1.1');
  });
});

describe('HTTP/1.1 on the same TLS listener', () => {
  const address = () => world.gateway.address;

  async function over1(options: { readonly cert?: string; readonly key?: string } = {}) {
    const { host, port } = address();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const files = Object.entries(options).map(([name, path]) => [name, readFileSync(path)]);
    httpsRequest(
      {
        host,
        port,
        path: '/c1/a',
        rejectUnauthorized: false,
        agent: false,
        ...Object.fromEntries(files),
      },
      resolve,
    )
      .on('error', reject)
      .end();
    const message = await promise;
    return String(Buffer.concat(await message.toArray()));
  }

  it('A client without ALPN is served HTTP/1.1', async () => {
    world.answer = (request, response) =>
      void response.end(String(request.headers['x-forwarded-proto']));
    expect(await over1()).toBe('https');
    expect(seen.at(-1)).toBeUndefined();
  });

  it('The authenticator sees a certificate of the client CA, and no other', async () => {
    await over1(certificates.client);
    expect(seen.at(-1)).toMatchObject({ commonNames: ['client'], issuer: 'CN=client-ca' });
    await over1(certificates.stranger);
    expect(seen.at(-1)).toBeUndefined();
  });

  it('An upgraded connection keeps half-close over TLS', async () => {
    world.server.once('upgrade', (_request, socket) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhello',
      );
      socket.resume().on('end', () => socket.end(' and bye'));
    });
    const options = { ...address(), rejectUnauthorized: false, allowHalfOpen: true };
    const tls = connectTls(options as ConnectionOptions);
    const client = new RawClient(address(), tls);
    client.send(
      'GET /c1/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n',
    );
    await client.until('hello');
    tls.end();
    expect(await client.end()).toMatch(/hello and bye$/);
  });
});
