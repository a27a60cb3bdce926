import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Secret } from '../../../src/base/secret.ts';
import { ApiServerConnection } from '../../../src/kube/client/api-server-connection.ts';
import type { KubeConfig, KubeEndpoint } from '../../../src/kube/client/kube-endpoint.ts';
import { RestKubeApi, type RestKubeApiOptions } from '../../../src/kube/client/rest-kube-api.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import { untilConnecting } from '../../../testkit/network/connecting-sockets.ts';
import { startUnansweringPort } from '../../../testkit/network/unanswering-port.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

const signal = new AbortController().signal;
const mapRef = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' };
const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default', name: 'a' } };
const kinds = { resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] };

const anonymous: Omit<KubeEndpoint, 'server'> = {
  ca: undefined,
  serverName: undefined,
  verify: true,
  certificate: undefined,
  token: undefined,
  proxy: undefined,
  namespace: undefined,
};

function fixed(endpoint: KubeEndpoint): KubeConfig {
  return { endpoint: () => Promise.resolve(endpoint), expire() {} };
}

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

/** A server that knows ConfigMaps, and answers all else as `answer` says. */
async function serve(answer: RequestListener, options: Partial<RestKubeApiOptions> = {}) {
  const seen: { connections: number; paths: string[] } = { connections: 0, paths: [] };
  const server = createHttpServer((request, response) => {
    seen.paths.push(`${request.method} ${request.url}`);
    if (request.url?.endsWith('/api/v1')) response.end(JSON.stringify(kinds));
    else answer(request, response);
  });
  // The server closes no idle connection.
  server.keepAliveTimeout = 0;
  server.on('connection', () => seen.connections++);
  const port = await listen(server);
  const config = fixed({ ...anonymous, server: new URL(`http://127.0.0.1:${port}`) });
  const api = new RestKubeApi({ config, fieldManager: 'test', ...options });
  onTestFinished(() => api.close());
  return { api, port, seen };
}

const json = (response: ServerResponse, body: unknown, status = 200) => {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
};

describe('a connection to an API server', () => {
  it('A connection to an API server is kept for the next call', async () => {
    const { api, seen } = await serve((_, response) => json(response, map));
    for (let call = 0; call < 5; call++) await api.get(mapRef, { signal });
    expect(seen.connections).toBe(1);
  });

  it('A connection to an API server is opened again, once, if the server closed it just as it was used', async () => {
    let calls = 0;
    const { api, seen } = await serve((request, response) => {
      if (++calls === 2) request.socket.destroy();
      else json(response, map);
    });
    await api.get(mapRef, { signal });
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(seen.connections).toBe(2);
  });

  it('A connection to an API server does not send a POST twice', async () => {
    let posts = 0;
    const { api } = await serve((request, response) => {
      if (request.method !== 'POST') return json(response, map);
      posts++;
      return void request.socket.destroy();
    });
    await api.get(mapRef, { signal });
    await expect(api.create(map, { signal })).rejects.toMatchObject({ code: 'unavailable' });
    expect(posts).toBe(1);
  });

  it('A connection to an API server puts the path of its URL before every path', async () => {
    const { seen, port } = await serve((_, response) => json(response, map));
    const server = new URL(`http://127.0.0.1:${port}/k8s/clusters/c-1/`);
    const api = new RestKubeApi({ config: fixed({ ...anonymous, server }), fieldManager: 'test' });
    await api.get(mapRef, { signal });
    api.close();
    expect(seen.paths).toEqual([
      'GET /k8s/clusters/c-1/api/v1',
      'GET /k8s/clusters/c-1/api/v1/namespaces/default/configmaps/a',
    ]);
  });

  it('A connection to an API server sends the token and the user agent', async () => {
    let head: IncomingMessage['headers'] = {};
    const { port } = await serve((request, response) => {
      head = request.headers;
      json(response, map);
    });
    const endpoint = { ...anonymous, server: new URL(`http://127.0.0.1:${port}`) };
    const config = fixed({ ...endpoint, token: new Secret('s3cret') });
    const api = new RestKubeApi({ config, fieldManager: 'culvert-test' });
    await api.get(mapRef, { signal });
    api.close();
    expect(head).toMatchObject({ authorization: 'Bearer s3cret', 'user-agent': 'culvert-test' });
  });
});

describe('the end of a connection', () => {
  it('A refused request is not sent again with the same credentials', async () => {
    const { api, seen } = await serve((_, response) => json(response, {}, 401));
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject({ code: 'unauthorized' });
    expect(seen.paths).toHaveLength(2);
  });

  it('Closing the client closes its idle connection', async () => {
    let socket: Socket | undefined;
    const { api } = await serve((request, response) => {
      socket = request.socket;
      json(response, map);
    });
    await api.get(mapRef, { signal });
    const closed = once(socket!, 'close');
    api.close();
    await closed;
    expect(socket!.destroyed).toBe(true);
  });
});

describe('the answer of an API server', () => {
  it.each([
    [
      'a page of a proxy',
      502,
      'text/html',
      '<html>',
      'unavailable',
      /502 without a Kubernetes Status/,
    ],
    ['a success that is no JSON', 200, 'text/html', '<html>', 'bad_response', /not JSON/],
    ['a redirect', 302, 'text/html', '', 'bad_response', /302 without a Kubernetes Status/],
    [
      'a path that is not there',
      404,
      'text/plain',
      '404 page not found',
      'not_served',
      /install its CRD/,
    ],
    [
      'a webhook that does not answer',
      500,
      'application/json',
      JSON.stringify({
        kind: 'Status',
        code: 500,
        reason: 'InternalError',
        message:
          'Internal error occurred: failed calling webhook "a.b": failed to call webhook: Post "https://w.kube-system.svc:443/": read tcp 10.0.0.1:43210->10.0.0.2:443: read: connection reset by peer',
      }),
      'invalid',
      // The port of one attempt would change conditions at each attempt.
      /webhook "a.b": .*: read tcp 10.0.0.2:443: read: connection reset by peer; /,
    ],
    [
      'a problem of its own',
      500,
      'application/json',
      JSON.stringify({ kind: 'Status', code: 500, reason: 'InternalError', message: 'etcd' }),
      'unavailable',
      /etcd; culvert tries again/,
    ],
  ])(
    'The answer of an API server is understood when it is %s',
    async (_, status, type, body, code, message) => {
      const { api } = await serve((_, response) => {
        response.writeHead(status, { 'Content-Type': type });
        response.end(body);
      });
      const call = api.get(mapRef, { signal });
      await expect(call).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    },
  );

  it.each([
    ['7', 7_000],
    ['3600', 60_000],
    // More milliseconds than a timer can wait.
    ['9999999999', 60_000],
  ])(
    'The answer of an API server can ask for a retry %s s later, but a minute is the most',
    async (seconds, retryAfterMs) => {
      const { api } = await serve((_, response) => {
        response.setHeader('Retry-After', seconds);
        json(response, { kind: 'Status', code: 429, reason: 'TooManyRequests' }, 429);
      });
      const call = api.get(mapRef, { signal });
      await expect(call).rejects.toMatchObject({ code: 'unavailable', retryAfterMs });
    },
  );

  it('The answer of an API server can be missing', async () => {
    const { api } = await serve(() => {});
    const call = api.get(mapRef, { signal, timeoutMs: 50 });
    await expect(call).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('get ConfigMap default/a: no answer within 0.05 s'),
    });
  });

  it('The answer of an API server can break off', async () => {
    const { api } = await serve((_, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('{"kind":');
      setImmediate(() => response.destroy());
    });
    const call = api.get(mapRef, { signal });
    await expect(call).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('broke off'),
    });
  });

  it('The answer of an API server is not waited for when the caller gives up', async () => {
    const asked = Promise.withResolvers<IncomingMessage>();
    const { api } = await serve((request) => asked.resolve(request));
    const stop = new AbortController();
    const reason = new Error('enough');
    const call = api.get(mapRef, { signal: stop.signal });
    const closed = once((await asked.promise).socket, 'close');
    stop.abort(reason);
    await expect(call).rejects.toBe(reason);
    await closed;
  });

  it('A kubeconfig that cannot be read in time is not waited for', async () => {
    const config: KubeConfig = { endpoint: () => new Promise(() => {}), expire() {} };
    const clock = new VirtualClock();
    const api = new RestKubeApi({ config, fieldManager: 'test', clock });
    const call = api.get(mapRef, { signal, timeoutMs: 10_000 }).catch((error: unknown) => error);
    const stop = new AbortController();
    const connection = new ApiServerConnection({ config, userAgent: 'test' });
    const request = { method: 'GET', path: '/api/v1', what: 'test' } as const;
    const given = connection.send(request, stop.signal).catch((error: unknown) => error);
    const reason = new Error('enough');
    stop.abort(reason);
    await clock.advance(15_000);
    const unsettled = new Promise((resolve) => setImmediate(resolve, 'unsettled'));
    expect(await Promise.race([call, unsettled])).toMatchObject({ code: 'timeout' });
    expect(await Promise.race([given, unsettled])).toBe(reason);
  });

  it.each(['http', 'https'])(
    'A connection to an API server over %s is not waited for when the caller gives up',
    async (scheme) => {
      await using silent = await startUnansweringPort();
      const server = new URL(`${scheme}://${silent.address}`);
      const config = fixed({ ...anonymous, server });
      const connection = new ApiServerConnection({ config, userAgent: 'test' });
      onTestFinished(() => connection.close());
      const stop = new AbortController();
      let thrown: unknown;
      const request = { method: 'GET', path: '/api/v1', what: 'test' } as const;
      connection.send(request, stop.signal).catch((error: unknown) => (thrown = error));
      await untilConnecting(silent.port, 1);
      const reason = new Error('enough');
      stop.abort(reason);
      // The attempt itself ends after 15 s.
      await expect.poll(() => thrown, { timeout: 5_000 }).toBe(reason);
    },
  );
});

describe('a watch', () => {
  const collection = { apiVersion: 'v1', kind: 'ConfigMap' };
  const watchAll = async (api: RestKubeApi) => {
    const types: string[] = [];
    const options = { signal, resourceVersion: '1' };
    for await (const event of api.watch(collection, options)) types.push(event.type);
    return types;
  };

  it('A watch reads events wherever they are cut', async () => {
    const { api } = await serve((_, response) => {
      const object = { ...map, data: { text: 'größer' } };
      const bytes = Buffer.from(`${JSON.stringify({ type: 'ADDED', object })}\n`.repeat(3));
      const send = (at: number): void => {
        if (at >= bytes.length) return void response.end();
        response.write(bytes.subarray(at, at + 7));
        setImmediate(() => send(at + 7));
      };
      send(0);
    });
    const texts: unknown[] = [];
    for await (const event of api.watch(collection, { signal, resourceVersion: '1' })) {
      if (event.type === 'added') texts.push(event.object['data']);
    }
    expect(texts).toEqual(Array.from({ length: 3 }, () => ({ text: 'größer' })));
  });

  it('A watch ends after a long silence, as if the server had ended it', async () => {
    const { api } = await serve(
      (_, response) => {
        response.write(`${JSON.stringify({ type: 'ADDED', object: map })}\n`);
      },
      { maxSilenceMs: 100 },
    );
    expect(await watchAll(api)).toEqual(['added']);
  });

  it.each([
    ['gone', { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } }],
    ['unavailable', { type: 'ERROR', object: { kind: 'Status', code: 500 } }],
    ['bad_response', { type: 'SURPRISE', object: map }],
  ])('A watch reports %s for such an event', async (code, event) => {
    const { api } = await serve((_, response) => response.end(`${JSON.stringify(event)}\n`));
    await expect(watchAll(api)).rejects.toMatchObject({ code });
  });

  it('A watch reports bad_response for a line that is not JSON', async () => {
    const { api } = await serve((_, response) => response.end('<html>\n'));
    await expect(watchAll(api)).rejects.toMatchObject({ code: 'bad_response' });
  });

  it('A watch reports unavailable when it breaks off', async () => {
    const { api } = await serve((_, response) => {
      response.write(`${JSON.stringify({ type: 'ADDED', object: map })}\n`);
      setTimeout(() => response.destroy(), 20);
    });
    await expect(watchAll(api)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('A watch closes its connection when the reader stops', async () => {
    const closed = Promise.withResolvers<void>();
    const { api } = await serve((request, response) => {
      request.socket.on('close', () => closed.resolve());
      response.write(`${JSON.stringify({ type: 'ADDED', object: map })}\n`);
    });
    for await (const event of api.watch(collection, { signal, resourceVersion: '1' })) {
      expect(event.type).toBe('added');
      break;
    }
    await closed.promise;
  });
});

describe('an API server with TLS', () => {
  const start = async (given: Partial<KubeEndpoint>) => {
    await using certificates = await makeTestCertificates();
    const files = certificates.server;
    const [cert, key, ca] = await Promise.all(
      [files.cert, files.key, files.ca].map((path) => readFile(path, 'utf8')),
    );
    const port = await listen(
      createHttpsServer({ cert, key }, (request, response) =>
        json(response, request.url === '/api/v1' ? kinds : map),
      ),
    );
    const server = new URL(`https://localhost:${port}`);
    const config = fixed({ ...anonymous, server, ca, ...given });
    const api = new RestKubeApi({ config, fieldManager: 'test' });
    onTestFinished(() => api.close());
    return api;
  };

  it('An API server with TLS is trusted with a certificate of the CA of the kubeconfig, or without a check', async () => {
    expect(await (await start({})).get(mapRef, { signal })).toEqual(map);
    const stranger = await start({ ca: undefined });
    await expect(stranger.get(mapRef, { signal })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('check the CA'),
    });
    const careless = await start({ ca: undefined, verify: false });
    expect(await careless.get(mapRef, { signal })).toEqual(map);
  });

  it('An API server with TLS must have the name that the kubeconfig gives it', async () => {
    const api = await start({ serverName: 'elsewhere.example' });
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject({ code: 'unavailable' });
  });
});
