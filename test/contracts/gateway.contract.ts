import { createHash, randomBytes } from 'node:crypto';
import {
  type IncomingMessage,
  type RequestListener,
  request as httpRequest,
  type RequestOptions,
  type Server,
} from 'node:http';
import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { RawClient } from '../gateway/raw-client.ts';

/** A gateway that listens on loopback, with one cluster, `c1`. */
export interface GatewayUnderTest extends AsyncDisposable {
  /** Without a slash at its end: `http://127.0.0.1:1234`. */
  readonly url: string;
  /** The kube-apiserver of `c1`. */
  readonly server: Server;
  /** Handles the requests of `server`. */
  answer: RequestListener;
  /** Whether the gateway receives dot segments and backslashes as the client sent them. */
  readonly seesRawTargets: boolean;
}

/** What every gateway does for HTTP/1.1 clients, on any runtime. */
export function describeGateway(name: string, start: () => Promise<GatewayUnderTest>): void {
  describe(`The gateway: ${name}`, () => {
    let world: GatewayUnderTest;
    beforeAll(async () => (world = await start()), 60_000);
    afterAll(() => world?.[Symbol.asyncDispose]());

    const raw = (): RawClient => {
      const { hostname, port } = new URL(world.url);
      return new RawClient({ host: hostname, port: Number(port) });
    };

    function begin(path: string, options: RequestOptions = {}) {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      const { hostname, port } = new URL(world.url);
      const request = httpRequest(
        { host: hostname, port, path, agent: false, ...options },
        resolve,
      );
      request.on('error', reject);
      return { request, response: promise };
    }

    async function send(path: string, options: RequestOptions = {}, body: string | Buffer = '') {
      const { request, response } = begin(path, options);
      request.end(body);
      const message = await response;
      const pieces: Buffer[] = [];
      for await (const piece of message) pieces.push(piece as Buffer);
      return { message, body: Buffer.concat(pieces), status: message.statusCode };
    }

    /** Sends a request and returns what the server has seen of it. */
    async function seen(path: string, options: RequestOptions = {}) {
      let request: IncomingMessage | undefined;
      world.answer = (message, response) => {
        request = message;
        response.end();
      };
      const { status, body } = await send(path, options);
      return { status, body: String(body), request };
    }

    it('A gateway keeps the path, the query and the Host of a request', async () => {
      const path = '/api/v1/namespaces/a/configmaps/b%20c?labelSelector=x%3D%2Fy&limit=5';
      const { request, status } = await seen(`/c1${path}`, { headers: { Host: 'my.host' } });
      expect(status).toBe(200);
      expect(request?.url).toBe(path);
      expect(request?.headers).toMatchObject({ 'x-forwarded-host': 'my.host' });
    });

    it('A gateway keeps the status and the fields of an answer', async () => {
      world.answer = (_request, response) => {
        response.writeHead(418, ['X-A', 'b', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']);
        response.end('tea');
      };
      const { status, message, body } = await send('/c1/version');
      expect({ status, body: String(body) }).toEqual({ status: 418, body: 'tea' });
      expect(message.headers).toMatchObject({ 'x-a': 'b', 'set-cookie': ['a=1', 'b=2'] });
    });

    it('A gateway leaves a body that the server has encoded as it is', async () => {
      const zipped = gzipSync('text '.repeat(1000));
      world.answer = (_request, response) => {
        response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': zipped.length });
        response.end(zipped);
      };
      const { body, message } = await send('/c1/version', {
        headers: { 'Accept-Encoding': 'gzip' },
      });
      expect(message.headers['content-encoding']).toBe('gzip');
      expect(body.equals(zipped)).toBe(true);
    });

    it('An answer to HEAD has its fields and no body', async () => {
      world.answer = (_request, response) => {
        response.writeHead(200, { 'Content-Length': 1234, 'X-Method': 'head' });
        response.end();
      };
      const { message, body } = await send('/c1/version', { method: 'HEAD' });
      expect(message.headers).toMatchObject({ 'x-method': 'head', 'content-length': '1234' });
      expect(body.length).toBe(0);
    });

    it('An answer without a body has none', async () => {
      for (const code of [204, 304]) {
        world.answer = (_request, response) => response.writeHead(code).end();
        const { status, body } = await send('/c1/version');
        expect({ status, length: body.length }).toEqual({ status: code, length: 0 });
      }
    });

    it('A gateway keeps the length of an answer, and needs none', async () => {
      world.answer = (request, response) => {
        if (request.url === '/a') response.setHeader('Content-Length', 5);
        response.write('12345');
        response.end();
      };
      const known = await send('/c1/a');
      expect(known.message.headers['content-length']).toBe('5');
      const unknown = await send('/c1/b');
      expect(String(unknown.body)).toBe('12345');
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

    it('Each event of a watch arrives before the next one is sent', async () => {
      const opened = Promise.withResolvers<(text: string) => void>();
      world.answer = (_request, response) => {
        response.flushHeaders();
        opened.resolve((text) => void response.write(text));
      };
      const client = raw().send('GET /c1/api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.until('\r\n\r\n');
      const respond = await opened.promise;
      for (const event of ['event 1', 'event 2', 'event 3']) {
        respond(event);
        expect(await client.until(event)).toContain(event);
      }
      client.socket.destroy();
    });

    it('A reader that stops stalls its server', async () => {
      let written = 0;
      const total = 96 * 1024 ** 2;
      world.answer = (request, response) => {
        if (request.url === '/beside') {
          response.end();
          return;
        }
        const piece = Buffer.alloc(64 * 1024);
        const more = (): void => {
          for (let isRoom = true; isRoom && written < total;) {
            written += piece.length;
            isRoom = response.write(piece);
          }
        };
        response.on('drain', more);
        more();
      };
      const client = raw().send('GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.until('\r\n\r\n');
      client.socket.pause();
      // Bytes that can pass do so while other requests make their way.
      for (let before = -1; before !== written;) {
        before = written;
        for (let count = 0; count < 20; count++) await send('/c1/beside');
      }
      expect(written).toBeLessThan(total / 2);
      client.socket.destroy();
    });

    it('A client that leaves ends the request of the server', async () => {
      const closed = Promise.withResolvers<void>();
      world.answer = (_request, response) => {
        // Some runtimes notice only at the next byte that the client has left.
        const timer = setInterval(() => response.write('more'), 20);
        response.on('close', () => {
          clearInterval(timer);
          closed.resolve();
        });
        response.write('first');
      };
      const client = raw().send('GET /c1/api/v1/pods?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.until('first');
      client.socket.destroy();
      expect(await closed.promise).toBeUndefined();
    });

    it('An answer that is cut never looks complete', async () => {
      for (const headers of [{}, { 'Content-Length': 100 }]) {
        world.answer = (_request, response) => {
          response.writeHead(200, headers);
          response.write('begun', () => setTimeout(() => response.destroy(), 50));
        };
        await expect(send('/c1/a')).rejects.toThrow(/aborted|ECONNRESET|hang up/);
      }
    });

    it('A redirect that stays on the server gets the prefix of the cluster', async () => {
      world.answer = (_request, response) => response.writeHead(302, { Location: '/other' }).end();
      const { status, message } = await send('/c1/a');
      expect({ status, location: message.headers.location }).toEqual({
        status: 302,
        location: '/c1/other',
      });
    });

    it('A URL without a cluster gets a Status', async () => {
      for (const [path, code] of [
        ['/version', 400],
        ['/not_a_cluster/version', 404],
      ] as const) {
        const { status, body } = await send(path);
        expect({ path, status }).toEqual({ path, status: code });
        expect(JSON.parse(String(body))).toMatchObject({ kind: 'Status', code });
      }
    });

    it('No path reaches the server that it could read as another one', async () => {
      const paths = [
        '/api/v1/namespaces/a/../b/pods',
        '/api/v1/namespaces/a/%2e%2e/b/pods',
        '/api/v1/namespaces/a%2f..%2fb/pods',
        '/api/v1/namespaces//pods',
        '/api/v1/namespaces/a\\..\\b/pods',
        '/api/v1/namespaces/a/./pods',
        '/api/v1/namespaces/a%5cb/pods',
        '/api/v1/namespaces/a%00b/pods',
      ];
      for (const path of paths) {
        let url: string | undefined;
        world.answer = (request, response) => {
          url = request.url;
          response.end();
        };
        const text = await raw()
          .send(`GET /c1${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
          .until('\r\n\r\n');
        // A runtime may resolve a path before the gateway decides about it, but not afterwards.
        const isRefused = text.startsWith('HTTP/1.1 400') && url === undefined;
        const isResolved = !world.seesRawTargets && /^(?:\/[a-z0-9]+)+$/.test(url ?? '');
        expect({ path, url, isSafe: isRefused || isResolved }).toEqual({ path, url, isSafe: true });
      }
    });

    it('Other spellings of fields that a gateway checks never pass', async () => {
      const { request } = await seen('/c1/version', {
        headers: {
          Impersonate_User: 'admin',
          X_Remote_User: 'admin',
          'Cluster-Proxy-Host': 'other',
          'Culvert-Admitted': '%7B%22kind%22%3A%22agent%22%7D',
          'X-Kept': 'yes',
        },
      });
      const names = Object.keys(request!.headers);
      expect(names).toContain('x-kept');
      expect(names.filter((name) => /impersonate|remote|cluster-proxy/.test(name))).toEqual([]);
    });

    it("A client's own impersonation reaches the server, in one value", async () => {
      const { request } = await seen('/c1/version', {
        headers: {
          Authorization: 'Bearer t',
          'Impersonate-User': 'jane',
          'Impersonate-Group': 'g',
        },
      });
      expect(request!.headers).toMatchObject({
        authorization: 'Bearer t',
        'impersonate-user': 'jane',
        'impersonate-group': 'g',
      });
    });

    it('A server that answers 401 answers the client', async () => {
      world.answer = (_request, response) => {
        response.writeHead(401, { 'Content-Type': 'application/json' });
        response.end('{"kind":"Status","code":401}');
      };
      const { status, body } = await send('/c1/version');
      expect({ status, body: String(body) }).toEqual({
        status: 401,
        body: '{"kind":"Status","code":401}',
      });
    });

    describe('WebSocket', () => {
      const sockets = new WebSocketServer({
        noServer: true,
        handleProtocols: (offered) =>
          offered.has('v5.channel.k8s.io') ? 'v5.channel.k8s.io' : false,
      });
      const onUpgrade = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
        sockets.handleUpgrade(request, socket, head, (accepted) => {
          sockets.emit('connection', accepted, request);
        });
      };
      beforeAll(() => void world.server.on('upgrade', onUpgrade));
      afterAll(() => void world.server.off('upgrade', onUpgrade));

      const open = async (protocols: string[] = []) => {
        const accepted = new Promise<WebSocket>(
          (resolve) => void sockets.once('connection', resolve),
        );
        const url = `${world.url.replace('http', 'ws')}/c1/api/v1/namespaces/a/pods/b/exec?command=sh`;
        const client = new WebSocket(url, protocols, { perMessageDeflate: false });
        await new Promise((resolve, reject) => {
          client.once('open', resolve);
          client.once('error', reject);
        });
        return { client, server: await accepted };
      };
      const next = (socket: WebSocket) =>
        new Promise<string>((resolve) => {
          socket.once('message', (data, isBinary) =>
            resolve(`${isBinary} ${(data as Buffer).toString()}`),
          );
        });
      const ended = (socket: WebSocket) =>
        new Promise((resolve) => {
          socket.once('close', (code, reason) => resolve({ code, reason: String(reason) }));
        });

      it('Messages pass both ways, text as text and bytes as bytes', async () => {
        const { client, server } = await open(['v5.channel.k8s.io', 'v4.channel.k8s.io']);
        expect(client.protocol).toBe('v5.channel.k8s.io');
        for (const [from, to] of [
          [client, server],
          [server, client],
        ] as const) {
          const text = next(to);
          from.send('hällo');
          expect(await text).toBe('false hällo');
          const bytes = next(to);
          from.send(Buffer.from('raw'));
          expect(await bytes).toBe('true raw');
        }
        client.terminate();
        server.terminate();
      });

      it('A large message and many messages keep their bytes', async () => {
        const { client, server } = await open();
        const hash = createHash('sha256');
        let bytes = 0;
        const all = new Promise<void>((resolve) => {
          client.on('message', (data: Buffer) => {
            hash.update(data);
            bytes += data.length;
            if (bytes === 1_000_000 + 200 * 5_000) resolve();
          });
        });
        const expected = createHash('sha256');
        for (const size of [1_000_000, ...Array.from({ length: 200 }, () => 5_000)]) {
          const piece = randomBytes(size);
          expected.update(piece);
          server.send(piece);
        }
        await all;
        expect(hash.digest('hex')).toBe(expected.digest('hex'));
        client.terminate();
        server.terminate();
      });

      it('A close passes with its code and reason, from either end', async () => {
        const first = await open();
        const atClient = ended(first.client);
        first.server.close(1000, 'exec is over');
        expect(await atClient).toEqual({ code: 1000, reason: 'exec is over' });
        const second = await open();
        const atServer = ended(second.server);
        second.client.close(1000, 'enough');
        expect(await atServer).toEqual({ code: 1000, reason: 'enough' });
      });

      it('A server that refuses the upgrade answers the client', async () => {
        world.server.off('upgrade', onUpgrade);
        try {
          world.answer = (_request, response) => response.writeHead(403).end('{"kind":"Status"}');
          const client = new WebSocket(`${world.url.replace('http', 'ws')}/c1/api/v1/x`);
          const status = await new Promise((resolve) => {
            client.once('unexpected-response', (_request, message) => resolve(message.statusCode));
            client.once('error', () => {});
          });
          expect(status).toBe(403);
        } finally {
          world.server.on('upgrade', onUpgrade);
        }
      });
    });
  });
}
