import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/options/option-problems.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import {
  agentArgvOf,
  readProxyAgentOptions,
  retryOf,
} from '../../src/cli/konnectivity/proxy-agent-options.ts';
import {
  brokerArgvOf,
  readProxyServerOptions,
} from '../../src/cli/konnectivity/proxy-server-options.ts';
import { parseGoDuration } from '../../src/cli/konnectivity/upstream-flags.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { startCulvert } from '../../testkit/world/world.ts';
import { cli } from './captured-cli.ts';

let certificates: TestCertificates;
let directory: string;
beforeAll(async () => {
  certificates = await makeTestCertificates();
  directory = await mkdtemp(join(tmpdir(), 'culvert-flags-'));
});
afterAll(async () => {
  await certificates[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const clusterFlags = () => [
  `--cluster-cert=${certificates.server.cert}`,
  `--cluster-key=${certificates.server.key}`,
];
const byCertificate = () => [...clusterFlags(), `--cluster-ca-cert=${certificates.agent.ca}`];
const overUds = () => ['--uds-name=/run/k.sock', '--server-port=0'];

function problemsOf(argv: readonly string[]): readonly string[] {
  try {
    readProxyServerOptions(argv, {});
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe('Flags of proxy-server', () => {
  it('Flags of a server on a Unix socket become options of a broker, a bridge and a listener for agents', () => {
    const argv = [...overUds(), ...byCertificate(), '--agent-port=8191', '--server-id=s1', '-v=6'];
    const { values } = readProxyServerOptions(argv, {});
    const { options, front, agents, logLevel } = readBrokerOptions(brokerArgvOf(values), {});
    expect(options).toMatchObject({ agentCa: certificates.agent.ca, agentCaCluster: 'cluster' });
    expect(front).toEqual({ udsPath: '/run/k.sock', cluster: 'cluster' });
    expect(agents).toMatchObject({
      listen: { host: '::', port: 8191 },
      cluster: 'cluster',
      strategies: ['default'],
      serverId: 's1',
      serverCount: 1,
    });
    expect(logLevel).toBe('debug');
  });

  it('Flags of a server with leases publish a Lease through the API server', () => {
    const argv = [...overUds(), ...byCertificate(), '--enable-lease-controller'];
    const agentsOf = (...more: string[]) => {
      const { values, warnings } = readProxyServerOptions([...argv, ...more], {});
      expect(warnings).toEqual([]);
      return readBrokerOptions(brokerArgvOf(values), {}).agents;
    };
    expect(agentsOf()?.serverLease).toEqual({
      namespace: 'kube-system',
      label: 'k8s-app=konnectivity-server',
    });
    expect(agentsOf('--lease-namespace=ns', '--lease-label=a=b')?.serverLease).toEqual({
      namespace: 'ns',
      label: 'a=b',
    });
    const { values } = readProxyServerOptions([...overUds(), ...byCertificate()], {});
    expect(readBrokerOptions(brokerArgvOf(values), {}).agents).not.toHaveProperty('serverLease');
  });

  it('Flags of a server on a port become a listener with client certificates', () => {
    const { client, server } = certificates;
    const tls = [
      `--server-cert=${server.cert}`,
      `--server-key=${server.key}`,
      `--server-ca-cert=${client.ca}`,
    ];
    const argv = [...tls, '--server-bind-address=127.0.0.1', ...byCertificate()];
    const { values } = readProxyServerOptions(
      [...argv, '--graceful-shutdown-timeout=1m30s', '--proxy-strategies=destHost,default'],
      {},
    );
    const { options, front, agents } = readBrokerOptions(brokerArgvOf(values), {});
    expect(front).toMatchObject({
      listen: { host: '127.0.0.1', port: 8090 },
      tls: { clientCaFile: client.ca },
    });
    expect(agents).toMatchObject({ strategies: ['destHost', 'default'] });
    expect(options.drainTimeoutMs).toBe(90_000);
  });

  it('Flags for tokens of a ServiceAccount need no CA of agents', async () => {
    const kubeconfig = join(directory, 'kubeconfig');
    await writeFile(kubeconfig, '{}');
    const token = [
      ...['--agent-namespace=kube-system', '--agent-service-account=konnectivity-agent'],
      ...['--authentication-audience=system:konnectivity-server', `--kubeconfig=${kubeconfig}`],
    ];
    const { values } = readProxyServerOptions([...overUds(), ...clusterFlags(), ...token], {});
    const { options, agents } = readBrokerOptions(brokerArgvOf(values), {});
    expect(options.agentCa).toBeUndefined();
    expect(agents?.serviceAccount).toEqual({
      namespace: 'kube-system',
      name: 'konnectivity-agent',
      audience: 'system:konnectivity-server',
    });
  });

  it('Flags with empty values count as not given, and PROXY_SERVER_ID names the server', () => {
    const argv = [...overUds(), ...byCertificate(), '--server-cert=', '--kubeconfig='];
    const { values } = readProxyServerOptions(argv, { PROXY_SERVER_ID: 'from-env' });
    expect(values).toMatchObject({ serverId: 'from-env', kubeconfig: undefined });
  });

  it('Flags without effect are reported once each, with the reason', () => {
    const ignored = ['--xfr-channel-size=150', '--enable-profiling', '--keepalive-time=1h0m0s'];
    const { warnings } = readProxyServerOptions([...overUds(), ...byCertificate(), ...ignored], {});
    expect(warnings).toEqual([
      expect.stringMatching(/^--enable-profiling has no effect, because /),
      expect.stringMatching(/^--xfr-channel-size has no effect, because /),
      expect.stringMatching(/^--keepalive-time has no effect, because /),
    ]);
  });

  it.each([
    [
      'no credential of agents',
      () => [...overUds(), ...clusterFlags()],
      'agents need a credential',
    ],
    [
      'a certificate and a token of agents',
      () => [...overUds(), ...byCertificate(), '--agent-namespace=a'],
      'are both given, keep one',
    ],
    [
      'a Unix socket and a port',
      () => ['--uds-name=/run/k.sock', ...byCertificate()],
      '--uds-name needs --server-port=0',
    ],
    ['no front', () => [...byCertificate(), '--server-port=0'], 'needs --uds-name'],
    ['a port without TLS', byCertificate, '--server-cert is required with --server-port'],
    [
      'a malformed duration',
      () => [...overUds(), ...byCertificate(), '--graceful-shutdown-timeout=10'],
      'is not a duration',
    ],
    [
      'an existing socket that may not be removed',
      () => [`--uds-name=${directory}`, '--server-port=0', '--delete-existing-uds-file=false'],
      'exists, and --delete-existing-uds-file is false',
    ],
  ])('Flags with %s are refused', (_, argv, problem) => {
    expect(problemsOf(argv()).join('\n')).toContain(problem);
  });

  it('Flags have no variables of ours, so a variable of a Service named culvert-agent does no harm', async () => {
    const { stderr } = await cli(['proxy-server'], { CULVERT_AGENT_PORT: 'tcp://10.0.0.1:80' });
    expect(stderr).not.toContain('CULVERT_AGENT_PORT');
    expect(stderr).toContain('--cluster-cert is required\n');
  });
});

describe('Flags of proxy-agent', () => {
  it('Flags of an agent become options of an agent that dials everything', () => {
    const { agent, server } = certificates;
    const argv = [
      ...['--proxy-server-host=proxy.example.com', '--proxy-server-port=443'],
      ...[`--ca-cert=${server.ca}`, `--agent-cert=${agent.cert}`, `--agent-key=${agent.key}`],
      ...['--health-server-host=127.0.0.1', '--health-server-port=9093', '--agent-id=a1'],
      ...['--probe-interval=100ms', '--service-account-token-path=', '--alpn-proto=[]'],
    ];
    const given = readProxyAgentOptions(argv, {});
    const { options } = readAgentOptions(agentArgvOf(given, 'cluster'), {});
    expect(options).toMatchObject({
      cluster: 'cluster',
      agentId: 'a1',
      caFile: server.ca,
      certificateFile: agent.cert,
      certificateKeyFile: agent.key,
      kubeApiserver: undefined,
      statusListen: { host: '127.0.0.1', port: 9093 },
    });
    expect(options.brokerUrl?.href).toBe('wss://proxy.example.com/');
    expect(options.allow).toContain('*:*');
    expect(given.warnings).toEqual([
      expect.stringMatching(/^--alpn-proto has no effect, /),
      expect.stringMatching(/^--probe-interval has no effect, /),
    ]);
  });

  it('Flags of the interval between attempts have the defaults of upstream, in milliseconds', () => {
    const retry = (...argv: string[]) => retryOf(readProxyAgentOptions(argv, {}));
    expect(retry()).toEqual({ intervalMs: 1_000, capMs: 10_000 });
    const given = retry('--sync-interval=2s', '--sync-interval-cap=1m30s');
    expect(given).toEqual({ intervalMs: 2_000, capMs: 90_000 });
    expect(retry('--sync-interval=0').intervalMs).toBeGreaterThan(0);
  });

  it('Flags of the interval between attempts decide how often a refused agent tries', async () => {
    const { agent, server } = certificates;
    const [key, cert] = await Promise.all([readFile(server.key), readFile(server.cert)]);
    let attempts = 0;
    const proxyServer = createServer({ key, cert }, (_request, response) => {
      attempts++;
      response.writeHead(401, { 'Content-Type': 'application/json' });
      response.end('{"code":"unauthorized","message":"no"}');
    }).listen(0, '127.0.0.1');
    await once(proxyServer, 'listening');
    const { port } = proxyServer.address() as AddressInfo;
    await using _ = startCulvert('proxy-agent', [
      ...['--proxy-server-host=127.0.0.1', `--proxy-server-port=${port}`],
      ...[`--ca-cert=${server.ca}`, `--agent-cert=${agent.cert}`, `--agent-key=${agent.key}`],
      ...['--health-server-host=127.0.0.1', '--health-server-port=0'],
      ...['--sync-interval=100ms', '--sync-interval-cap=100ms'],
    ]);
    // An agent without these flags tries once a minute.
    await expect.poll(() => attempts, { timeout: 30_000 }).toBeGreaterThan(3);
    proxyServer.close();
    proxyServer.closeAllConnections();
  });

  it('Flags with a token of a ServiceAccount become an agent that reads the token at every connect', async () => {
    const file = join(certificates.directory, 'service-account-token');
    const given = readProxyAgentOptions([`--service-account-token-path=${file}`], {});
    const read = async (token: string) => {
      await writeFile(file, token);
      const { options } = readAgentOptions(agentArgvOf(given, 'cluster'), {});
      return (await options.readToken())?.reveal();
    };
    expect([await read('first'), await read('second')]).toEqual(['first', 'second']);
    expect(given.warnings).toEqual([]);
  });

  it.each(['fd00::1', '[fd00::1]'])('Flags can name a server by the IPv6 address %s', (host) => {
    const argv = [`--proxy-server-host=${host}`, '--service-account-token-path=/dev/null'];
    const given = readProxyAgentOptions(argv, {});
    const { options } = readAgentOptions(agentArgvOf(given, 'cluster'), {});
    expect(options.brokerUrl?.href).toBe('wss://[fd00::1]:8091/');
  });

  it('Flags without a health host become probes at every address, of IPv4 and IPv6', () => {
    const given = readProxyAgentOptions(['--service-account-token-path=/dev/null'], {});
    const { options } = readAgentOptions(agentArgvOf(given, 'cluster'), {});
    expect(options.statusListen).toEqual({ host: '::', port: 8093 });
  });

  it('Flags without an id take it from PROXY_AGENT_ID', () => {
    expect(readProxyAgentOptions([], { PROXY_AGENT_ID: 'a7' }).values.agentId).toBe('a7');
    const argv = ['--agent-id=a1'];
    expect(readProxyAgentOptions(argv, { PROXY_AGENT_ID: 'a7' }).values.agentId).toBe('a1');
  });
});

describe('Durations of Go', () => {
  it.each([
    ['0', 0],
    ['1h0m0s', 3_600_000],
    ['1.5s', 1_500],
    ['100ms', 100],
    ['2m30s', 150_000],
    ['250us', 0],
  ])('The duration %s is %d ms', (text, ms) => {
    expect(parseGoDuration(text)).toBe(ms);
  });

  it.each(['', '10', '-1s', '1d', '1 s'])('The duration %j is refused', (text) => {
    expect(() => parseGoDuration(text)).toThrow('is not a duration');
  });
});
