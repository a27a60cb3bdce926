import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../testkit/ground/kubernetes/wait.ts';
import { NetworkNamespace } from '../../testkit/network/network-namespace.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { logged, loggedLine, node, startCulvert } from '../../testkit/world/world.ts';
import { Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';
import { Prometheus, type ScrapedTarget } from './support/prometheus.ts';

const programs = await planePrograms();
const script = fileURLToPath(new URL('support/recording-service.ts', import.meta.url));
const service = 'metrics.default.svc';
/** The name of the Service for clients of the proxies. */
const proxiedName = `${service}.cluster1`;

describe('Prometheus with a proxy_url', () => {
  let stack: AsyncDisposableStack;
  let plane: Plane;
  let token: string;
  /** HTTP CONNECT without TLS, on loopback. */
  let plainFrontAddress: string;
  /** Ports of the Service. */
  let httpPort: number;
  /** With a certificate for the name that clients of the proxies use. */
  let httpsPort: number;
  /** With a certificate for the name that the Service has in its cluster. */
  let clusterNamePort: number;

  beforeAll(async () => {
    await using starting = new AsyncDisposableStack();
    // An agent refuses Services at loopback addresses.
    const namespace = starting.use(await NetworkNamespace.create());
    plane = starting.use(
      await Plane.start(programs, {
        clusters: ['cluster1'],
        hosts: { cluster1: { [service]: namespace.address } },
        hasByteFronts: true,
      }),
    );
    const { server, serverAuthority } = plane.certificates;
    const serve = async (dnsName?: string): Promise<number> => {
      const tls: string[] = [];
      if (dnsName !== undefined) {
        const request = { name: dnsName, usage: 'server', dnsNames: [dnsName] } as const;
        const { cert, key } = await serverAuthority.issue(request);
        tls.push(cert, key);
      }
      const args = [script, namespace.address, 'cluster1', ...tls];
      const program = starting.use(
        startProgram(namespace.inside({ command: node, args, name: 'recording service' })),
      );
      return Number((await program.waitForLine(/"port":(\d+)/))[1]);
    };
    httpPort = await serve();
    httpsPort = await serve(proxiedName);
    clusterNamePort = await serve(service);
    token = await plane.tokens.issue({ kind: 'dialer', name: 'prometheus' });
    const bridge = starting.use(
      startCulvert('bridge', [
        ...['--broker-url', await logged(plane.broker, 'broker listens', 'url')],
        ...['--ca-file', server.ca, '--token-file', await plane.tokens.file(token)],
        ...['--konnectivity-listen', '127.0.0.1:0'],
      ]),
    );
    const { addresses } = await loggedLine(bridge, 'konnectivity bridge listens');
    [plainFrontAddress] = addresses as [string];
    stack = starting.move();
  });
  afterAll(() => stack?.disposeAsync());

  interface Scrape extends ScrapedTarget {
    /** The label `of` of the metric `sample`. Undefined after a scrape that failed. */
    readonly of: string | undefined;
  }
  const good = { health: 'up', lastError: '', of: 'cluster1' };

  async function scrapeOnce(job: object, port: number): Promise<Scrape> {
    const target = `${proxiedName}:${port}`;
    const jobs = [{ job_name: 'one', static_configs: [{ targets: [target] }], ...job }];
    const { prometheus: program } = programs.http;
    await using prometheus = await Prometheus.start(program, plane.directory, jobs);
    const scraped = async (): Promise<ScrapedTarget | undefined> => {
      const [found] = await prometheus.targets();
      return found === undefined || found.health === 'unknown' ? undefined : found;
    };
    const found = await waitFor(scraped, { what: 'a scrape', timeoutMs: 60_000 });
    if (found.health === 'down') return { ...found, of: undefined };
    const sampled = async () => (await prometheus.labels('sample')).at(0);
    const labels = await waitFor(sampled, { what: 'a sample', timeoutMs: 60_000 });
    return { ...found, of: labels['of'] };
  }

  const httpsProxy = () => {
    const { server, client } = plane.certificates;
    return {
      proxy_url: `https://${plane.frontAddress}`,
      tls_config: { ca_file: server.ca, cert_file: client.cert, key_file: client.key },
    };
  };

  it.each([true, false])(
    'Prometheus scrapes an HTTPS Service through an HTTPS proxy that verifies its client certificate, with enable_http2 %s',
    async (isHttp2) => {
      const job = { ...httpsProxy(), scheme: 'https', enable_http2: isHttp2 };
      expect(await scrapeOnce(job, httpsPort)).toMatchObject(good);
    },
  );

  it('Prometheus does not pass an HTTPS proxy without a client certificate', async () => {
    const { ca_file } = httpsProxy().tls_config;
    const job = { ...httpsProxy(), tls_config: { ca_file }, scheme: 'https' };
    const { health, lastError } = await scrapeOnce(job, httpsPort);
    expect(health).toBe('down');
    expect(lastError).toContain('certificate required');
  });

  it('Prometheus applies server_name to an HTTPS proxy as well, so the proxy must have that name', async () => {
    const { proxy_url, tls_config } = httpsProxy();
    const job = { proxy_url, scheme: 'https', tls_config: { ...tls_config, server_name: service } };
    const { health, lastError } = await scrapeOnce(job, clusterNamePort);
    expect(health).toBe('down');
    expect(lastError).toContain(`valid for localhost`);
    expect(lastError).toContain(`not ${service}`);
  });

  it('Prometheus scrapes an HTTPS Service by the name in its cluster through a proxy on loopback', async () => {
    const tls = { ca_file: plane.certificates.server.ca, server_name: service };
    const job = { scheme: 'https', proxy_url: `http://${plainFrontAddress}`, tls_config: tls };
    expect(await scrapeOnce(job, clusterNamePort)).toMatchObject(good);
  });

  it('Prometheus sends a proxy on loopback no CONNECT for an http:// target, and gets 405', async () => {
    const job = { proxy_url: `http://${plainFrontAddress}` };
    const { health, lastError } = await scrapeOnce(job, httpPort);
    expect(health).toBe('down');
    expect(lastError).toContain('405');
  });

  it.each([
    [true, 'unencrypted HTTP/2 not enabled'],
    [false, '405'],
  ])(
    'Prometheus sends an HTTPS proxy no CONNECT for an http:// target, with enable_http2 %s',
    async (isHttp2, error) => {
      const job = { ...httpsProxy(), enable_http2: isHttp2 };
      const { health, lastError } = await scrapeOnce(job, httpPort);
      expect(health).toBe('down');
      expect(lastError).toContain(error);
    },
  );

  it('Prometheus scrapes an HTTP Service through SOCKS 5, with a token as user and password', async () => {
    const [user, password] = [token.slice(0, 200), token.slice(200)];
    const job = { proxy_url: `socks5://${user}:${password}@${plane.socksAddress}` };
    expect(await scrapeOnce(job, httpPort)).toMatchObject(good);
  });
});
