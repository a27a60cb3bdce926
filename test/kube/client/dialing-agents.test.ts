import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  type ProxyEnvironment,
  readProxyEnvironment,
} from '../../../src/base/net/proxy-environment.ts';
import { Secret } from '../../../src/base/secret.ts';
import { inClusterConfig } from '../../../src/kube/client/in-cluster-config.ts';
import type { KubeConfig, KubeEndpoint } from '../../../src/kube/client/kube-endpoint.ts';
import { RestKubeApi } from '../../../src/kube/client/rest-kube-api.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';
import {
  type ConnectProxy,
  notLoopback,
  notLoopback6,
  startConnectProxy,
} from '../../../testkit/network/connect-proxy.ts';
import { startSocksProxy } from '../../../testkit/network/socks-proxy.ts';
import { startTarget } from '../../../testkit/world/target.ts';

const signal = new AbortController().signal;
const mapRef = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' };
const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default', name: 'a' } };
const kinds = { resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] };

let certificates: TestCertificates;
let ca: string;
let server: Server;
let port: number;
let proxy: ConnectProxy;
/** Established watches, in the order of their requests. */
let watches: ServerResponse[];
beforeAll(async () => {
  certificates = await makeTestCertificates();
  const { server: files } = certificates;
  const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key)]);
  ca = await readFile(files.ca, 'utf8');
  watches = [];
  server = createServer({ cert, key }, (request, response) => {
    if (request.url?.includes('watch=true')) {
      response.writeHead(200).flushHeaders();
      watches.push(response);
    } else {
      response.end(JSON.stringify(request.url === '/api/v1' ? kinds : map));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await certificates?.[Symbol.asyncDispose]();
});

/** An endpoint that may change. */
class Config implements KubeConfig {
  now: KubeEndpoint;

  constructor(now: KubeEndpoint) {
    this.now = now;
  }

  endpoint = () => Promise.resolve(this.now);
  expire(): void {}
}

async function start(
  given: Partial<KubeEndpoint> = {},
  environment?: (proxyUrl: string) => Readonly<Record<string, string>>,
) {
  proxy = await startConnectProxy();
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const config = new Config({
    server: new URL(`https://${notLoopback}:${port}`),
    ca,
    serverName: 'localhost',
    verify: true,
    certificate: undefined,
    token: undefined,
    proxy: undefined,
    namespace: undefined,
    ...given,
  });
  const env = environment?.(proxy.url.href) ?? { HTTPS_PROXY: proxy.url.href };
  return { api: connect(config, readProxyEnvironment(env)), config };
}

function connect(
  config: KubeConfig,
  proxies: ProxyEnvironment,
  proxyCa?: () => Promise<string>,
): RestKubeApi {
  const api = new RestKubeApi({ config, proxies, proxyCa, fieldManager: 'test' });
  onTestFinished(() => api.close());
  return api;
}

describe('an API server behind a proxy', () => {
  it('An API server behind a proxy is reached by CONNECT, with user and password, and the connection is kept', async () => {
    const { api } = await start();
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(proxy.asked).toEqual([`${notLoopback}:${port}`]);
    expect(proxy.userAgents).toEqual(['test']);
  });

  it('An API server behind a proxy is reached at an IPv6 address, which is in brackets in CONNECT', async () => {
    const forwarder = createTcpServer((socket) => {
      const onward = connectTcp(port, '127.0.0.1');
      for (const end of [socket, onward]) end.on('error', () => {});
      socket.pipe(onward).pipe(socket);
    });
    forwarder.listen(0, '::1');
    await once(forwarder, 'listening');
    onTestFinished(() => void forwarder.close());
    const authority = `${notLoopback6}:${(forwarder.address() as AddressInfo).port}`;
    const { api } = await start({ server: new URL(`https://${authority}`) });
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(proxy.asked).toEqual([authority]);
  });

  it('An API server behind a proxy is watched through the proxy, even while the credentials change', async () => {
    const { api, config } = await start();
    const collection = { apiVersion: 'v1', kind: 'ConfigMap' };
    const events = api.watch(collection, { signal, resourceVersion: '1' });
    const earlierWatches = watches.length;
    const say = (name: string): void => {
      const object = { ...map, metadata: { name } };
      watches[earlierWatches]?.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
    };
    const first = events.next();
    await expect.poll(() => watches.length).toBe(earlierWatches + 1);
    say('first');
    expect(await first).toMatchObject({ value: { object: { metadata: { name: 'first' } } } });
    const { cert, key } = certificates.client;
    const certificate = {
      cert: await readFile(cert, 'utf8'),
      key: new Secret(await readFile(key, 'utf8')),
    };
    config.now = { ...config.now, certificate };
    // Over a tunnel of its own, as the old one was made without the certificate.
    await api.get(mapRef, { signal });
    say('second');
    const second = await events.next();
    expect(second).toMatchObject({ value: { object: { metadata: { name: 'second' } } } });
    expect(proxy.asked).toHaveLength(2);
    const third = events.next();
    proxy.breakOff();
    await expect(third).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('An API server behind a proxy is reached through the proxy of its kubeconfig, not of the environment', async () => {
    const { api, config } = await start({}, () => ({ HTTPS_PROXY: 'http://127.0.0.1:1' }));
    config.now = { ...config.now, proxy: proxy.proxy };
    await api.get(mapRef, { signal });
    expect(proxy.asked).toHaveLength(1);
  });

  it('An API server behind a proxy is reached through an https:// proxy with a certificate of the CA of the kubeconfig', async () => {
    const { api, config } = await start({}, () => ({}));
    await using tlsProxy = await startConnectProxy(certificates.server);
    config.now = { ...config.now, proxy: tlsProxy.proxy };
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(tlsProxy.asked).toHaveLength(1);
    config.now = { ...config.now, ca: undefined, verify: false };
    const refused = {
      code: 'unavailable',
      message: expect.stringContaining('no TLS connection to the proxy'),
    };
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject(refused);
  });

  describe('an API server behind a proxy that is reached over TLS', () => {
    /** The CA of the API server has not signed for the proxy. */
    async function startApart(proxyCa: () => Promise<string>) {
      const authority = certificates.clientAuthority;
      const files = await authority.issue({ name: 'proxy', usage: 'server', dnsNames: [] });
      const tlsProxy = await startConnectProxy(files);
      onTestFinished(() => tlsProxy[Symbol.asyncDispose]());
      const { config } = await start();
      const proxies = readProxyEnvironment({ HTTPS_PROXY: tlsProxy.url.href });
      return { tlsProxy, api: connect(config, proxies, proxyCa), config };
    }

    it('An API server behind a proxy is reached through a proxy of another CA, whose file is read again', async () => {
      let file = certificates.stranger.ca;
      const { tlsProxy, api } = await startApart(() => readFile(file, 'utf8'));
      await expect(api.get(mapRef, { signal })).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringMatching(
          /^cannot .*no TLS connection to the proxy 127\.0\.0\.1:\d+ .*give the CA that issued its certificate, the intermediate or the root, with --ca-file/,
        ),
      });
      expect(tlsProxy.asked).toEqual([]);
      file = certificates.client.ca;
      expect(await api.get(mapRef, { signal })).toEqual(map);
      expect(tlsProxy.asked).toHaveLength(1);
    });

    it('An API server behind a proxy is not trusted with the CA of the proxy', async () => {
      const both = async () => `${await readFile(certificates.client.ca, 'utf8')}\n${ca}`;
      const { tlsProxy, api, config } = await startApart(both);
      expect(await api.get(mapRef, { signal })).toEqual(map);
      config.now = { ...config.now, ca: await readFile(certificates.stranger.ca, 'utf8') };
      await expect(api.get(mapRef, { signal })).rejects.toMatchObject({
        code: 'unavailable',
        message: expect.stringMatching(/check the CA and the server's name in the kubeconfig$/),
      });
      expect(tlsProxy.asked).toHaveLength(2);
    });

    it('An API server behind a proxy is reported with the CA file that cannot be read', async () => {
      const file = join(certificates.directory, 'missing.crt');
      const { api } = await startApart(() => readFile(file, 'utf8'));
      await expect(api.get(mapRef, { signal })).rejects.toMatchObject({
        code: 'bad_config',
        message: expect.stringContaining('missing.crt'),
      });
    });
  });

  it('An API server behind a proxy is reached through a SOCKS proxy, with user and password', async () => {
    const credentials = { user: 'ann', password: 'pass word' };
    await using socks = await startSocksProxy({ credentials });
    const { api, config } = await start({}, () => ({ HTTPS_PROXY: socks.url }));
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(socks.asked).toEqual([`ipv4 ${notLoopback}:${port}`]);
    config.now = { ...config.now, server: new URL(`https://api.example:${port}`) };
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(socks.asked.at(-1)).toBe(`name api.example:${port}`);
  });

  it('An API server without TLS is reached through a SOCKS proxy', async () => {
    const target = await startTarget({ mode: 'http' });
    onTestFinished(() => target[Symbol.asyncDispose]());
    await using socks = await startSocksProxy();
    const server = new URL(`http://${notLoopback}:${target.port}`);
    const { api } = await start({ server, proxy: socks.proxy }, () => ({}));
    // The target knows nothing of Kubernetes; that it answered is enough.
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject({ code: 'not_served' });
    expect(socks.asked).toEqual([`ipv4 ${notLoopback}:${target.port}`]);
  });

  it('An API server behind a proxy is reported with the refusal of the SOCKS proxy', async () => {
    await using socks = await startSocksProxy({ reply: () => 2 });
    const { api } = await start({}, () => ({ HTTPS_PROXY: socks.url }));
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(
        /the proxy 127\.0\.0\.1:\d+ did not connect to .*: not allowed/,
      ),
    });
  });

  it('An API server behind a proxy is not reached with a wrong password, which no message repeats', async () => {
    const { api } = await start({}, (url) => ({ HTTPS_PROXY: url.replace('pass', 'wrong') }));
    const failure = await api.get(mapRef, { signal }).catch((thrown: unknown) => thrown as Error);
    expect(failure).toMatchObject({ code: 'unavailable' });
    expect((failure as Error).message).toContain('407');
    expect((failure as Error).message).toContain('did not accept the user and password');
    expect((failure as Error).message).not.toContain('wrong');
  });

  it('An API server behind a proxy is not reached through a missing proxy, or a server that is no proxy', async () => {
    const { api } = await start({}, () => ({ HTTPS_PROXY: 'http://127.0.0.1:1' }));
    await expect(api.get(mapRef, { signal })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('through a proxy: the proxy 127.0.0.1:1 cannot be reached'),
    });
    const { api: other } = await start({}, () => ({ HTTPS_PROXY: 'socks4://ann:secret@proxy:1' }));
    await expect(other.get(mapRef, { signal })).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringMatching(/^(?!.*secret).*begins with socks4:.*correct HTTPS_PROXY/),
    });
  });
});

describe('an API server that needs no proxy', () => {
  it.each([
    ['is named by NO_PROXY', `example.com,${notLoopback}`],
    ['is in a range of NO_PROXY', '10.0.0.0/8, 0.0.0.0/8'],
    ['is in NO_PROXY with its port', () => `${notLoopback}:${port}`],
  ])('An API server that needs no proxy %s', async (_, noProxy) => {
    const NO_PROXY = typeof noProxy === 'string' ? noProxy : noProxy();
    const { api } = await start({}, (url) => ({ HTTPS_PROXY: url, NO_PROXY }));
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(proxy.asked).toEqual([]);
  });

  it.each(['localhost', '127.0.0.1'])(
    'An API server that needs no proxy is at %s',
    async (host) => {
      const { api } = await start({ server: new URL(`https://${host}:${port}`) });
      expect(await api.get(mapRef, { signal })).toEqual(map);
      expect(proxy.asked).toEqual([]);
    },
  );
});

it('An API server that needs no proxy asks the proxy for the API server of its own cluster too, unless NO_PROXY has it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-in-cluster-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  const files = { 'ca.crt': ca, token: 'token', namespace: 'default' };
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  proxy = await startConnectProxy();
  onTestFinished(() => proxy[Symbol.asyncDispose]());
  const call = async (more: Readonly<Record<string, string>>) => {
    const KUBERNETES_SERVICE_HOST = notLoopback;
    const KUBERNETES_SERVICE_PORT = `${port}`;
    const env = { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, HTTPS_PROXY: proxy.url.href };
    const config = inClusterConfig(env, { directory });
    const named = { endpoint: namedLocalhost(config), expire: () => config.expire() };
    await connect(named, readProxyEnvironment({ ...env, ...more })).get(mapRef, { signal });
    return proxy.asked.length;
  };
  expect(await call({ NO_PROXY: '.svc,0.0.0.0/16' })).toBe(0);
  expect(await call({})).toBe(1);
});

/** The certificate of the tests has this name alone. */
function namedLocalhost(config: KubeConfig): KubeConfig['endpoint'] {
  return async () => ({ ...(await config.endpoint()), serverName: 'localhost' });
}
