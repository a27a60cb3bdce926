import type { RequestListener } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import type { Server } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { AgentWorld, type AwaitedExchange } from './agent-world.ts';

type Listener = (...args: Parameters<RequestListener>) => void;

const big = randomBytes(1_000_000);

/** What each HTTP request of an agent promises, whatever the transport. */
describe.each([
  [
    'HTTP/1.1',
    '1.1',
    (listener: Listener) => (certificate: object) => createServer(certificate, listener),
  ],
  [
    'HTTP/2',
    '2.0',
    (listener: Listener) => (certificate: object) =>
      createSecureServer({ ...certificate, allowHTTP1: true }, listener as never),
  ],
] as const)('A watch over %s', (_, httpVersion, makeServer) => {
  let onRequest: Listener;
  let world: AgentWorld;

  beforeAll(async () => {
    const makeKube = makeServer((request, response) => onRequest(request, response));
    world = await AgentWorld.start(undefined, () => {}, { makeKube });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const path = '/api/v1/pods?watch=true';

  function watch(
    headers: readonly (readonly [string, string])[] = [],
    options: Parameters<AgentWorld['openKube']>[1] = {},
  ): AwaitedExchange {
    return world.openKube({ path, headers }, options);
  }

  it('The server gets the fields of the caller, and not those of its connection', async () => {
    let seen: { version: string; url: string | undefined; fields: Record<string, unknown> };
    onRequest = (request, response) => {
      const { httpVersion: version, url, headers } = request;
      seen = { version, url, fields: { ...headers } };
      response.setHeader('X-Public', ['one', 'two']);
      response.end('events');
    };
    const exchange = watch([
      ['Host', 'cluster.example.com'],
      ['Authorization', 'Bearer caller'],
      ['X-Mixed', 'caf\xe9'],
      ['Connection', 'X-Hop, Authorization'],
      ['X-Hop', 'no'],
      ['Keep-Alive', 'timeout=1'],
      ['Proxy-Authorization', 'no'],
    ]);
    expect(await exchange.closed).toBeUndefined();
    expect(seen!).toMatchObject({ version: httpVersion, url: path });
    const { fields } = seen!;
    expect(fields['host'] ?? fields[':authority']).toBe('cluster.example.com');
    expect(fields).toMatchObject({ authorization: 'Bearer caller', 'x-mixed': 'caf\xe9' });
    expect(fields['connection']).not.toBe('X-Hop, Authorization');
    for (const name of ['x-hop', 'keep-alive', 'proxy-authorization']) {
      expect(fields).not.toHaveProperty(name);
    }
    expect([exchange.head?.status, exchange.body]).toEqual([200, 'events']);
    const values = exchange.head!.headers.filter(([name]) => name.toLowerCase() === 'x-public');
    expect(values.map(([, value]) => value)).toEqual(['one', 'two']);
  });

  it("The agent's token replaces the one of the caller for an impersonated user", async () => {
    let seen: string[] = [];
    onRequest = ({ rawHeaders }, response) => {
      seen = rawHeaders;
      response.end();
    };
    const exchange = watch(
      [
        ['authorization', 'Bearer hub'],
        ['Impersonate-User', 'ada'],
        ['Impersonate-Group', 'dev'],
        ['Impersonate-Group', 'ops'],
        ['Connection', 'Impersonate-User'],
      ],
      { credentials: 'agent' },
    );
    expect(await exchange.closed).toBeUndefined();
    const values = (name: string) =>
      seen.filter((_, at) => at % 2 === 1 && seen[at - 1]!.toLowerCase() === name);
    expect(values('authorization')).toEqual(['Bearer agent-token']);
    expect(values('impersonate-user')).toEqual(['ada']);
    expect(values('impersonate-group')).toEqual(['dev', 'ops']);
  });

  it.each([204, 403, 500])('The status %i of the server arrives', async (status) => {
    onRequest = (_request, response) => {
      response.writeHead(status).end(status === 204 ? undefined : '{"kind":"Status"}');
    };
    const exchange = watch();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.head?.status).toBe(status);
    expect(exchange.body).toBe(status === 204 ? '' : '{"kind":"Status"}');
  });

  it('Early hints and trailers reach the caller', async () => {
    onRequest = (_request, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.writeHead(200, { Trailer: 'Checksum' });
      response.write('part');
      response.addTrailers({ Checksum: 'abc' });
      response.end();
    };
    const exchange = watch();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.informational.map(({ status }) => status)).toEqual([103]);
    expect(exchange.body).toBe('part');
    const trailers = exchange.trailers!.map(([name, value]) => [name.toLowerCase(), value]);
    expect(trailers).toEqual([['checksum', 'abc']]);
  });

  it('Each event arrives before the response has ended', async () => {
    let send: (text: string) => void;
    onRequest = (_request, response) => {
      send = (text) => response.write(text);
      response.writeHead(200).flushHeaders();
    };
    const exchange = watch();
    await exchange.until(() => exchange.head !== undefined);
    for (const event of ['one', 'two', 'three']) {
      send!(event);
      await exchange.until(() => exchange.body.endsWith(event));
    }
    expect(exchange.events).not.toContain('end');
    exchange.exchange.reset(new TunnelError('cancelled', 'gone'));
  });

  it('A reader that stops pauses the server, and loses nothing', async () => {
    onRequest = (_request, response) => void response.end(big);
    const exchange = watch();
    exchange.isReading = false;
    await exchange.until(() => exchange.bodyBytes > 100_000);
    for (let turn = 0; turn < 50; turn++) await nextTurn();
    expect(exchange.events).not.toContain('end');
    expect(exchange.bodyBytes).toBeLessThanOrEqual(256 * 1024);
    exchange.isReading = true;
    exchange.exchange.consumed(exchange.bodyBytes);
    expect(await exchange.closed).toBeUndefined();
    expect(Buffer.from(exchange.body, 'latin1').equals(big)).toBe(true);
  });

  it('The server learns that the caller has left, before and after its head', async () => {
    for (const hasHead of [false, true]) {
      const left = Promise.withResolvers<void>();
      const arrived = Promise.withResolvers<void>();
      onRequest = (_request, response) => {
        response.on('close', () => left.resolve());
        if (hasHead) response.writeHead(200).flushHeaders();
        arrived.resolve();
      };
      const exchange = watch();
      await arrived.promise;
      if (hasHead) await exchange.until(() => exchange.head !== undefined);
      exchange.exchange.reset(new TunnelError('cancelled', 'gone'));
      await left.promise;
    }
    expect(world.requests.openCount).toBe(0);
  });

  it('A server that gives up in the middle of a body is a cut', async () => {
    onRequest = (_request, response) => {
      response.write('part', () => response.destroy());
    };
    const exchange = watch();
    expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
    expect(exchange.events).not.toContain('end');
  });

  it('A request that takes two Content-Length fields is refused', async () => {
    const exchange = watch([
      ['Content-Length', '0'],
      ['Content-Length', '1'],
    ]);
    expect(await exchange.closed).toMatchObject({ code: 'protocol_error' });
  });
});

it('Requests that are short, have a body or ask for another protocol use HTTP/1.1', async () => {
  const versions: string[] = [];
  const listener: Listener = (request, response) => {
    versions.push(request.httpVersion);
    request.resume().on('end', () => response.end());
  };
  const makeKube = (certificate: object) =>
    createSecureServer({ ...certificate, allowHTTP1: true }, listener as never) as Server;
  await using world = await AgentWorld.start(undefined, () => {}, { makeKube });
  await world.openKube({ path: '/api/v1/pods' }).closed;
  await world.openKube({ path: '/api/v1/pods?watch=false' }).closed;
  const posted = world.openKube({ method: 'POST', path: '/api?watch=1' }, { hasBody: true });
  posted.exchange.end();
  await posted.closed;
  expect(versions).toEqual(['1.1', '1.1', '1.1']);
  expect(world.requests.http2ConnectionCount).toBe(0);
  await world.openKube({ path: '/api/v1/pods?watch' }).closed;
  expect(versions.at(-1)).toBe('2.0');
  expect(world.requests.http2ConnectionCount).toBe(1);
});

it('A Service gets HTTP/1.1 alone, also for a query with watch', async () => {
  const versions: string[] = [];
  await using world = await AgentWorld.start(undefined, (({ httpVersion }, response) => {
    versions.push(httpVersion);
    response.end();
  }) satisfies RequestListener);
  expect(await world.open({ path: '/?watch=true' }).closed).toBeUndefined();
  expect(versions).toEqual(['1.1']);
});
