import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage, RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentWorld } from './agent-world.ts';

/** What a server saw of the last request. */
let seen: { method: string; url: string; rawHeaders: string[]; body: string; socket: unknown };

/** The objects that the kube-apiserver was asked for. */
const kubePaths: string[] = [];

const echo: RequestListener = (request, response) => {
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => pieces.push(piece));
  request.on('end', () => {
    const { method = '', url = '', rawHeaders, socket } = request;
    seen = { method, url, rawHeaders, body: Buffer.concat(pieces).toString('latin1'), socket };
    answer(request, response, Buffer.concat(pieces));
  });
};

const answer = (
  request: IncomingMessage,
  response: Parameters<RequestListener>[1],
  body: Buffer,
): void => {
  const path = request.url ?? '';
  if (path === '/trailers') {
    response.writeHead(200, { Trailer: 'Checksum' });
    response.write('part');
    response.addTrailers({ Checksum: 'abc' });
    return void response.end();
  }
  if (path === '/hints') {
    response.writeEarlyHints({ link: '</a>; rel=preload' }, () => response.end('late'));
    return;
  }
  if (path === '/big') {
    response.setHeader('Content-Length', big.length);
    return void response.end(big);
  }
  if (path.startsWith('/api/v1/namespaces/')) kubePaths.push(path);
  if (path === '/api/v1/namespaces/other/services/missing') {
    return void response.writeHead(404).end('{}');
  }
  if (path.startsWith('/api/v1/namespaces/')) {
    const ports = [{ name: 'metrics', port: world.servicePort }];
    return void response.end(JSON.stringify({ spec: { ports } }));
  }
  response.setHeader('Connection', 'keep-alive, X-Private');
  response.setHeader('X-Private', 'for this connection');
  response.setHeader('X-Public', 'for everyone');
  response.end(createHash('sha256').update(body).digest('hex'));
};

const big = randomBytes(3_000_000);
let world: AgentWorld;

beforeAll(async () => {
  world = await AgentWorld.start(echo, echo);
});

afterAll(() => world[Symbol.asyncDispose]());

const valuesOf = (name: string): string[] =>
  seen.rawHeaders.filter(
    (_, at) => at % 2 === 1 && seen.rawHeaders[at - 1]!.toLowerCase() === name,
  );

describe("An agent's HTTP request", () => {
  it('A GET to a Service is answered, with its fields and without those of one connection', async () => {
    const headers = [
      ['Accept', 'text/plain'],
      ['Connection', 'X-Hop, Authorization'],
      ['X-Hop', 'no'],
      ['Keep-Alive', 'timeout=1'],
      ['Authorization', 'Bearer caller'],
      ['Transfer-Encoding', 'chunked'],
    ] as const;
    const exchange = world.open({ path: '/a%2Fb?x=%20', headers });
    expect(await exchange.closed).toBeUndefined();
    expect(seen).toMatchObject({ method: 'GET', url: '/a%2Fb?x=%20' });
    expect(valuesOf('authorization')).toEqual(['Bearer caller']);
    expect(valuesOf('host')).toEqual([`web.shop.svc:${world.servicePort}`]);
    expect(['x-hop', 'keep-alive', 'transfer-encoding'].flatMap(valuesOf)).toEqual([]);
    expect(exchange.head?.status).toBe(200);
    const names = exchange.head!.headers.map(([name]) => name.toLowerCase());
    expect(names).toContain('x-public');
    expect(names).not.toContain('x-private');
    expect(names).not.toContain('connection');
  });

  it('Requests in turn share a connection', async () => {
    await world.open().closed;
    const { socket } = seen;
    await world.open().closed;
    expect(seen.socket).toBe(socket);
    expect(world.requests.idleConnectionCount).toBe(1);
  });

  it("A request to the kube-apiserver goes over TLS, which the cluster's CA verifies", async () => {
    const exchange = world.openKube({ path: '/version' });
    expect(await exchange.closed).toBeUndefined();
    expect((seen.socket as { encrypted?: boolean }).encrypted).toBe(true);
    expect(seen.url).toBe('/version');
  });

  it('A body with a length and a body in chunks arrive unchanged', async () => {
    for (const headers of [[['Content-Length', '300000']], []] as const) {
      const exchange = world.open({ method: 'POST', headers }, { hasBody: true });
      const body = randomBytes(300_000);
      for (let at = 0; at < body.length; at += 7_000) {
        exchange.exchange.write(body.subarray(at, at + 7_000));
      }
      exchange.exchange.end();
      expect(await exchange.closed).toBeUndefined();
      expect(exchange.body).toBe(createHash('sha256').update(body).digest('hex'));
      expect(valuesOf('transfer-encoding')).toEqual(headers.length === 0 ? ['chunked'] : []);
    }
  });

  it('A POST without a body has the length 0', async () => {
    await world.open({ method: 'POST' }).closed;
    expect(valuesOf('content-length')).toEqual(['0']);
  });

  it('A body that does not have its Content-Length is refused', async () => {
    const headers = [['Content-Length', '10']] as const;
    for (const bytes of [5, 15]) {
      const exchange = world.open({ method: 'PUT', headers }, { hasBody: true });
      exchange.exchange.write(new Uint8Array(bytes));
      exchange.exchange.end();
      expect(await exchange.closed).toMatchObject({ code: 'protocol_error' });
    }
  });

  it('The answer to HEAD has a length and no body', async () => {
    const exchange = world.open({ method: 'HEAD', path: '/big' });
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.head?.headers).toContainEqual(['Content-Length', '3000000']);
    expect(exchange.events).toEqual(['head', 'end', 'close']);
  });

  it('Trailers and early hints reach the caller', async () => {
    const trailers = world.open({ path: '/trailers' });
    await trailers.closed;
    expect([trailers.body, trailers.trailers]).toEqual(['part', [['Checksum', 'abc']]]);
    const hints = world.open({ path: '/hints' });
    await hints.closed;
    expect(hints.informational.map(({ status }) => status)).toEqual([103]);
    expect(hints.body).toBe('late');
  });

  it('A body that is asked for with Expect waits for 100', async () => {
    const headers = [
      ['Expect', '100-continue'],
      ['Content-Length', '4'],
    ] as const;
    const exchange = world.open({ method: 'PUT', headers }, { hasBody: true });
    await exchange.until(() => exchange.informational.length > 0);
    expect(exchange.informational[0]?.status).toBe(100);
    exchange.exchange.write(Buffer.from('body'));
    exchange.exchange.end();
    expect(await exchange.closed).toBeUndefined();
    expect(seen.body).toBe('body');
  });

  it('A large response arrives unchanged, and a reader that stops pauses the server', async () => {
    const exchange = world.open({ path: '/big' });
    exchange.isReading = false;
    await exchange.until(() => exchange.bodyBytes > 100_000);
    expect(exchange.events).not.toContain('end');
    expect(exchange.bodyBytes).toBeLessThanOrEqual(256 * 1024);
    exchange.isReading = true;
    exchange.exchange.consumed(exchange.bodyBytes);
    expect(await exchange.closed).toBeUndefined();
    expect(Buffer.from(exchange.body, 'latin1').equals(big)).toBe(true);
  });

  it('The named port of a Service is looked up with the token of the agent', async () => {
    const server = { kind: 'service', scheme: 'http', namespace: 'shop', name: 'web' } as const;
    const exchange = world.open({ path: '/named' }, { server: { ...server, port: 'metrics' } });
    expect(await exchange.closed).toBeUndefined();
    expect(seen.url).toBe('/named');
    const missing = world.open({}, { server: { ...server, port: 'nothing' } });
    expect(await missing.closed).toMatchObject({ code: 'dns' });
  });

  it('A request to the named port of a Service is refused before a lookup where no rule names it', async () => {
    const before = kubePaths.length;
    const errors = ['exists', 'missing'].map(async (name) => {
      const server = { kind: 'service', scheme: 'http', namespace: 'other', name } as const;
      const { closed } = world.open({}, { server: { ...server, port: 'metrics' } });
      return String((await closed)?.message).replaceAll(name, 'NAME');
    });
    const [exists, missing] = await Promise.all(errors);
    expect(exists).toContain("forbidden by the agent's destination allowlist");
    expect(missing).toBe(exists);
    expect(kubePaths).toHaveLength(before);
  });

  it.each([
    ['a Service outside of the allowlist', 'other', 'web', '80', 'forbidden_target'],
    ['a name that is not of a Service', 'shop', 'web.evil', '80', 'forbidden_target'],
    ['a name with a slash', 'shop', 'a/../b', 'metrics', 'forbidden_target'],
    ['an empty label', 'shop', '-', '80', 'forbidden_target'],
    ['the port 0', 'shop', 'web', '0', 'forbidden_target'],
    ['the port 65536', 'shop', 'web', '65536', 'forbidden_target'],
    ['a port with a sign', 'shop', 'web', '+80', 'forbidden_target'],
  ])('A request to %s is refused', async (_, namespace, name, port, code) => {
    const server = { kind: 'service', scheme: 'http', namespace, name, port } as const;
    expect(await world.open({}, { server }).closed).toMatchObject({ code });
  });

  it('The log of a request has no header and no path', async () => {
    await world.open({ path: '/secret?token=abc', headers: [['Authorization', 'Bearer xyz']] })
      .closed;
    const line = world.log.lines.findLast(({ event }) => event === 'http request');
    expect(line?.fields).toMatchObject({ method: 'GET', status: 200, code: 'ok' });
    expect(JSON.stringify(world.log.lines)).not.toMatch(/abc|xyz|secret|agent-token/);
  });
});

describe("The agent's own credentials", () => {
  const impersonate = [['Impersonate-User', 'ada']] as const;
  const reviews = '/apis/authentication.k8s.io/v1/tokenreviews';

  it("The agent's token replaces the one of the caller for an impersonated user", async () => {
    const headers = [['authorization', 'Bearer hub'], ['Impersonate-Group', 'dev'], ...impersonate];
    const exchange = world.openKube(
      { headers: headers as [string, string][] },
      { credentials: 'agent' },
    );
    expect(await exchange.closed).toBeUndefined();
    expect(valuesOf('authorization')).toEqual(['Bearer agent-token']);
    expect(valuesOf('impersonate-user')).toEqual(['ada']);
  });

  it('A token review is sent with the token of the agent', async () => {
    const exchange = world.openKube(
      { method: 'POST', path: reviews },
      { credentials: 'agent', hasBody: true },
    );
    exchange.exchange.write(Buffer.from('{}'));
    exchange.exchange.end();
    expect(await exchange.closed).toBeUndefined();
    expect(valuesOf('authorization')).toEqual(['Bearer agent-token']);
  });

  it('Connection cannot make the agent drop the user that it impersonates', async () => {
    const headers = [...impersonate, ['Connection', 'Impersonate-User']] as [string, string][];
    expect(await world.openKube({ headers }, { credentials: 'agent' }).closed).toBeUndefined();
    expect(valuesOf('impersonate-user')).toEqual(['ada']);
  });

  it.each<[string, { method?: string; path?: string; headers?: [string, string][] }]>([
    ['without a user', {}],
    ['with an empty user', { headers: [['Impersonate-User', '']] }],
    ['with two users', { headers: [...impersonate, ['impersonate-user', 'b']] as never }],
    ['with a user in a spelling with underscores', { headers: [['Impersonate_User', 'ada']] }],
    [
      'with a further one with underscores',
      {
        headers: [...impersonate, ['IMPERSONATE_GROUP', 'x']] as never,
      },
    ],
    ['with an unknown field', { headers: [...impersonate, ['Impersonate-What', 'x']] as never }],
    ['with an empty group', { headers: [...impersonate, ['Impersonate-Group', '']] as never }],
    [
      'for system:masters',
      {
        headers: [...impersonate, ['Impersonate-Group', 'system:masters']] as never,
      },
    ],
    ['for a node', { headers: [['Impersonate-User', 'system:node:n1']] }],
    ['with a group alone', { headers: [['Impersonate-Group', 'dev']] }],
    ['that reads token reviews', { path: reviews }],
    ['that reviews with a query', { method: 'POST', path: `${reviews}?x=1` }],
    ['that reviews under another path', { method: 'POST', path: `/${reviews}` }],
  ])('A request %s is not sent as the agent', async (_, head) => {
    const before = seen;
    const error = await world.openKube(head, { credentials: 'agent' }).closed;
    expect(error).toMatchObject({ code: 'forbidden' });
    expect(seen).toBe(before);
  });

  it("The agent's token is not sent to a Service", async () => {
    const exchange = world.open({ headers: impersonate }, { credentials: 'agent' });
    expect(await exchange.closed).toMatchObject({ code: 'forbidden' });
  });

  it("A dialer that is not a gateway does not get the agent's credentials", async () => {
    await using other = await AgentWorld.start(echo, echo, { isGateway: false });
    const before = seen;
    const exchange = other.openKube({ headers: impersonate }, { credentials: 'agent' });
    expect(await exchange.closed).toMatchObject({ code: 'forbidden' });
    expect(seen).toBe(before);
    const own = other.openKube({ headers: [['Authorization', 'Bearer own'], ...impersonate] });
    expect(await own.closed).toBeUndefined();
    expect(valuesOf('authorization')).toEqual(['Bearer own']);
  });

  it('Impersonation that is turned off leaves token reviews', async () => {
    await using other = await AgentWorld.start(echo, echo, { enableImpersonation: false });
    const refused = other.openKube({ headers: impersonate }, { credentials: 'agent' });
    expect(await refused.closed).toMatchObject({ code: 'forbidden' });
    const review = other.openKube({ method: 'POST', path: reviews }, { credentials: 'agent' });
    expect(await review.closed).toBeUndefined();
  });

  it('A token that cannot be read ends the request with a typed error', async () => {
    await using other = await AgentWorld.start(echo, echo);
    await writeFile(other.tokenFile, '');
    const exchange = other.openKube({ headers: impersonate }, { credentials: 'agent' });
    expect(await exchange.closed).toMatchObject({ code: 'dial_failed' });
  });
});
