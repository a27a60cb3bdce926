import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startAgent, type RunningAgent } from '../../src/agent/agent.ts';
import { connectClusters } from '../../src/agent/kube-clusters.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { LastGoodCa } from '../../src/base/tls/last-good-ca.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import type { RunningBroker } from '../../src/broker/node/running-broker.ts';
import { AgentAuthority } from '../../testkit/world/agent-authority.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import {
  type ConnectProxy,
  notLoopback,
  startConnectProxy,
} from '../../testkit/network/connect-proxy.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';
import { startServiceProxy, type ServiceProxy } from '../../testkit/network/service-proxy.ts';

const service = 'https:proxy-entrypoint:agent-server';
let directory: string;
let certificates: TestCertificates;
let broker: RunningBroker;
let certificateDir: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-via-hub-'));
  certificates = await makeTestCertificates();
  const agents = await AgentAuthority.create();
  certificateDir = await agents.directory(join(directory, 'tls'));
  const agentCa = join(directory, 'agent-ca.crt');
  await writeFile(agentCa, agents.pem);
  const { cert, key } = certificates.server;
  const flags = ['--listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key];
  const { options } = readBrokerOptions([...flags, '--agent-ca', agentCa], {});
  broker = await startBroker(options, { log: silentLogger });
});
afterAll(async () => {
  await broker?.close();
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function startHub(): Promise<ServiceProxy> {
  const hub = await startServiceProxy({
    tls: certificates.server,
    token: 'hub-token',
    path: `/api/v1/namespaces/hub/services/${service}/proxy`,
    upstreamPort: Number(new URL(broker.url).port),
  });
  onTestFinished(() => hub[Symbol.asyncDispose]());
  return hub;
}

let count = 0;
async function kubeconfig(
  hub: ServiceProxy,
  {
    token = 'hub-token',
    host = '127.0.0.1',
    serverName,
  }: { token?: string; host?: string; serverName?: string } = {},
): Promise<string> {
  const path = join(directory, `kubeconfig-${++count}`);
  const ca = (await readFile(certificates.server.ca)).toString('base64');
  const text = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'hub',
    contexts: [{ name: 'hub', context: { cluster: 'hub', user: 'agent' } }],
    clusters: [
      {
        name: 'hub',
        cluster: {
          server: `https://${host}:${hub.port}`,
          ...(serverName === undefined ? {} : { 'tls-server-name': serverName }),
          'certificate-authority-data': ca,
        },
      },
    ],
    users: [{ name: 'agent', user: { token } }],
  };
  await writeFile(path, JSON.stringify(text));
  return path;
}

interface Started {
  readonly agent: RunningAgent;
  readonly lines: readonly Record<string, unknown>[];
}
async function startVia(
  file: string,
  argv: readonly string[] = [],
  via = `hub/${service}`,
  env: Readonly<Record<string, string>> = {},
): Promise<Started> {
  return await start(['--broker-via-hub', via, '--hub-kubeconfig', file, ...argv], env);
}

async function start(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Started> {
  const own = [
    '--cluster',
    'c1',
    '--certificate-dir',
    certificateDir,
    '--tunnels',
    '1',
    '--status-listen',
    '127.0.0.1:0',
  ];
  const { options } = readAgentOptions([...own, ...argv], env);
  const lines: Record<string, unknown>[] = [];
  const say = (event: string, fields?: LogFields) => void lines.push({ event, ...fields });
  const log: Logger = { ...silentLogger, info: say, warn: say, child: () => log };
  const agent = await startAgent(options, { log });
  onTestFinished(() => agent.close());
  return { agent, lines };
}

describe('An agent that reaches its broker through the API server of the hub', () => {
  it('An agent via the hub shows the hub its token and the broker its certificate', async () => {
    const hub = await startHub();
    const { agent } = await startVia(await kubeconfig(hub));
    await agent.connected;
    const [headers] = hub.passed;
    expect(headers).toMatchObject({
      'culvert-cluster': 'c1',
      'culvert-authorization': expect.stringMatching(/^Bearer /),
      'sec-websocket-protocol': 'culvert.v1',
    });
    expect(JSON.stringify(hub.passed)).not.toContain('hub-token');
  });

  it('An agent via the hub reconnects after a restart of the API server', async () => {
    const hub = await startHub();
    const { agent } = await startVia(await kubeconfig(hub));
    await agent.connected;
    hub.breakOff();
    await expect.poll(() => hub.passed.length, { timeout: 15_000 }).toBe(2);
    await expect.poll(() => agent.tunnelCount).toBe(1);
  });

  it("An agent via the hub logs the API server's answer about an unknown token or a forbidden Service", async () => {
    const hub = await startHub();
    const stranger = await startVia(await kubeconfig(hub, { token: 'old-token' }));
    const refused = (status: number) =>
      expect.objectContaining({ event: 'no connection to the broker', status });
    await expect.poll(() => stranger.lines, { timeout: 10_000 }).toContainEqual(refused(401));
    const lost = await startVia(await kubeconfig(hub), [], 'hub/https:another:agent-server');
    await expect.poll(() => lost.lines, { timeout: 10_000 }).toContainEqual(refused(403));
    expect(JSON.stringify([stranger.lines, lost.lines])).not.toMatch(/old-token|hub-token/);
    expect(hub.passed).toEqual([]);
  });

  /** A proxy over TLS, whose CA is neither that of the hub nor that of the broker. */
  async function startProxyApart(): Promise<ConnectProxy> {
    const files = await certificates.clientAuthority.issue({ name: 'proxy', usage: 'server' });
    const proxy = await startConnectProxy(files);
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    return proxy;
  }

  async function bundle(caFiles: readonly string[]): Promise<string> {
    const path = join(directory, `bundle-${++count}`);
    const pems = await Promise.all(caFiles.map((file) => readFile(file, 'utf8')));
    await writeFile(path, pems.join('\n'));
    return path;
  }

  it('An agent via the hub renews its lease on the hub through a proxy with its CA', async () => {
    const proxy = await startProxyApart();
    const file = await kubeconfig(await startHub(), { host: notLoopback, serverName: 'localhost' });
    const { client } = certificates;
    const flags = ['--cluster', 'c1', '--broker-via-hub', `hub/${service}`];
    const { options } = readAgentOptions(
      [
        ...[...flags, '--hub-kubeconfig', file, '--certificate-dir', certificateDir],
        ...['--lease', 'agents/cluster-proxy', '--ca-file', await bundle([client.ca])],
      ],
      { HTTPS_PROXY: proxy.url.href },
    );
    const ca = new LastGoodCa('--ca-file');
    const clusters = await connectClusters(options, ca, silentLogger);
    onTestFinished(() => clusters.close());
    const ended = new AbortController();
    const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', name: 'cluster-proxy' };
    // This hub answers only upgrades.
    const asked = clusters.hub!.get({ ...ref, namespace: 'c1' }, { signal: ended.signal });
    const settled = Promise.allSettled([asked]);
    await expect.poll(() => proxy.asked).toHaveLength(1);
    ended.abort();
    await settled;
  });

  it('An agent via the hub uses the proxy of the environment', async () => {
    const hub = await startHub();
    const proxy = await startConnectProxy();
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const file = await kubeconfig(hub, { host: notLoopback, serverName: 'localhost' });
    const env = { HTTPS_PROXY: proxy.url.href };
    const { agent } = await startVia(file, [], `hub/${service}`, env);
    await agent.connected;
    expect(proxy.asked).toEqual([`${notLoopback}:${hub.port}`]);
  });

  describe.each(['through the hub', 'directly'] as const)(
    'An agent %s, with a proxy over TLS',
    (way) => {
      async function startBehind(
        caFiles: readonly string[],
      ): Promise<Started & { asked: unknown }> {
        const hub = await startHub();
        const proxy = await startProxyApart();
        const argv = ['--ca-file', await bundle(caFiles)];
        const env = { HTTPS_PROXY: proxy.url.href };
        if (way === 'through the hub') {
          const file = await kubeconfig(hub, { host: notLoopback, serverName: 'localhost' });
          return { ...(await startVia(file, argv, `hub/${service}`, env)), asked: proxy.asked };
        }
        const url = new URL(broker.url);
        url.hostname = notLoopback;
        const direct = ['--broker-url', url.href, '--server-name', 'localhost'];
        return { ...(await start([...direct, ...argv], env)), asked: proxy.asked };
      }

      it('An agent trusts a proxy over TLS by --ca-file', async () => {
        const { server, client } = certificates;
        const { agent, asked } = await startBehind([server.ca, client.ca]);
        await agent.connected;
        expect(asked).toEqual([expect.stringContaining(notLoopback)]);
      });

      it('An agent without the CA of its proxy logs an error that says what to do', async () => {
        const { server, stranger } = certificates;
        const { lines, asked } = await startBehind([server.ca, stranger.ca]);
        const failed = {
          event: 'no connection to the broker',
          code: 'tls',
          error: expect.stringMatching(
            /^no TLS connection to the proxy 127\.0\.0\.1:\d+ .*; .*give the CA that issued its certificate, the intermediate or the root, with --ca-file/,
          ),
        };
        await expect
          .poll(() => lines, { timeout: 10_000 })
          .toContainEqual(expect.objectContaining(failed));
        expect(asked).toEqual([]);
      });
    },
  );

  it('An agent via the hub trusts only the CA of its kubeconfig', async () => {
    const hub = await startHub();
    const file = await kubeconfig(hub);
    const other = (await readFile(certificates.stranger.ca)).toString('base64');
    const own = (await readFile(certificates.server.ca)).toString('base64');
    await writeFile(file, (await readFile(file, 'utf8')).replace(own, other));
    // The CA for a proxy is trusted for the proxy only.
    const { lines } = await startVia(file, ['--ca-file', certificates.server.ca]);
    const failed = expect.objectContaining({
      event: 'no connection to the broker',
      code: 'tls',
      error: expect.stringMatching(/has not issued its certificate: have the kubeconfig renewed$/),
    });
    await expect.poll(() => lines, { timeout: 10_000 }).toContainEqual(failed);
    expect(hub.passed).toEqual([]);
  });
});

describe('The health of an agent', () => {
  it('An agent is ready while a tunnel is established', async () => {
    const hub = await startHub();
    const { agent } = await startVia(await kubeconfig(hub));
    const ask = async (path: string) => {
      const answer = await fetch(`http://${agent.statusAddress}${path}`);
      return `${answer.status} ${(await answer.text()).trim()}`;
    };
    await agent.connected;
    expect(await ask('/readyz')).toBe('200 ok');
    expect(await ask('/metrics')).toContain('culvert_agent_tunnels 1');
    hub.token = 'another';
    hub.breakOff();
    await expect.poll(() => ask('/readyz')).toBe('503 no tunnel to a broker is established');
    expect(await ask('/healthz')).toBe('200 ok');
  });

  it('An agent via the hub renews its lease because the broker has answered through the tunnel', async () => {
    const hub = await startHub();
    const { options } = readAgentOptions(
      [
        ...['--cluster', 'c1', '--broker-via-hub', `hub/${service}`, '--tunnels', '1'],
        ...['--hub-kubeconfig', await kubeconfig(hub), '--certificate-dir', certificateDir],
        ...['--lease', 'agents/cluster-proxy'],
      ],
      {},
    );
    const { kubeconfigFile } = await import('../../src/kube/client/kubeconfig-file.ts');
    const here = new MemoryKubeApi({ namespaces: ['agents'] });
    const hubConfig = kubeconfigFile(options.hubKubeconfig!);
    const clusters = { here, hub: undefined, hubConfig, files: [], close() {} };
    await using agent = await startAgent(options, { log: silentLogger, clusters });
    await agent.connected;
    const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
    const lease = () => here.peek({ ...ref, namespace: 'agents', name: 'cluster-proxy' });
    await expect.poll(lease).toMatchObject({ spec: { leaseDurationSeconds: 60 } });
  });
});
