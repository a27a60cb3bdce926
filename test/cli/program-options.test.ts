import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { readAgentOptions } from '../../src/agent/options.ts';
import { ConfigError } from '../../src/base/options/option-problems.ts';
import type { Env } from '../../src/base/options/option-table.ts';
import { readBridgeOptions } from '../../src/konnectivity-bridge/read-options.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-program-options-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text = 'x') => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const certificates = await makeTestCertificates();
afterAll(() => certificates[Symbol.asyncDispose]());
const { ca } = certificates.client;
const [cert, key] = [file('tls.crt'), file('tls.key')];

function problemsOf(read: () => unknown): readonly string[] {
  try {
    read();
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe('readBrokerOptions', () => {
  it.each([
    ['ws://10.0.0.7:8080', false],
    ['ws://broker-0.brokers:8080', false],
    ['ws://[fd00::7]:8080', false],
    ['ws://127.0.0.1:8080', true],
    ['ws://[::1]:8080', true],
    ['wss://10.0.0.7:8443', true],
  ])('readBrokerOptions accepts the replica address %s without a flag: %s', (address, isTaken) => {
    const flags = [
      ...['--redis-url', 'redis://redis:6379', '--replica-key-file', key],
      ...['--replica-address', address],
    ];
    const problems = problemsOf(() => readBrokerOptions(flags, {}));
    expect(problems.filter((problem) => !problem.includes('is not encrypted'))).toEqual([]);
    expect(problems).toHaveLength(isTaken ? 0 : 1);
    const allowed = readBrokerOptions([...flags, '--allow-plain-replicas'], {});
    expect(allowed.options.allowPlainReplicas).toBe(true);
  });

  const problems = (...argv: string[]) => problemsOf(() => readBrokerOptions(argv, {}));

  it('readBrokerOptions allows a broker on loopback without credentials, with a warning', () => {
    const { options, front, logLevel, warnings } = readBrokerOptions([], {});
    expect(options).toMatchObject({
      listen: { host: '127.0.0.1', port: 8080 },
      tokenPublicKey: [],
      acceptRate: 200,
      drainTimeoutMs: 30_000,
    });
    expect(options.replicaId).toMatch(/-[0-9a-f]{8}$/);
    expect(readBrokerOptions([], {}).options.replicaId).not.toBe(options.replicaId);
    expect(front).toBeUndefined();
    expect(logLevel).toBe('info');
    expect(warnings).toEqual([
      'no --agent-ca, --kubernetes or --token-public-key: every process on this machine may connect to 127.0.0.1:8080 as any cluster',
    ]);
  });

  it.each(['0.0.0.0:8080', '[::]:8080', '10.1.2.3:80', 'broker:80', '127.evil.example:80'])(
    'readBrokerOptions refuses to listen on %s without credentials, and tells the next step',
    (address) => {
      expect(problems('--listen', address)).toEqual([
        `--listen=${address} can be reached from other machines but no client is asked for credentials, ` +
          'give --agent-ca, --kubernetes or --token-public-key (culvert token keygen makes a key), or listen on 127.0.0.1',
      ]);
      const { warnings } = readBrokerOptions(['--listen', address, '--token-public-key', key], {});
      expect(warnings).toEqual([]);
    },
  );

  it('readBrokerOptions accepts several public keys, from flags or a variable', () => {
    const flags = ['--token-public-key', key, '--token-public-key', ca];
    expect(readBrokerOptions(flags, {}).options.tokenPublicKey).toEqual([key, ca]);
    const env = { CULVERT_TOKEN_PUBLIC_KEY: `${key},${ca}` };
    expect(readBrokerOptions([], env).options.tokenPublicKey).toEqual([key, ca]);
  });

  it.each([
    ['--agent-ca', ca],
    ['--kubeconfig', ca],
    ['--kubernetes', undefined],
  ])('readBrokerOptions accepts %s as a way to require credentials', (flag, value) => {
    const argv = ['--listen', '0.0.0.0:8091', flag, ...(value === undefined ? [] : [value])];
    const { options, warnings } = readBrokerOptions(argv, {});
    expect(warnings).toEqual([]);
    const hubs = {
      '--kubeconfig': { from: 'kubeconfig', path: ca },
      '--kubernetes': { from: 'pod' },
    };
    expect(options.hub).toEqual(hubs[flag as keyof typeof hubs]);
  });

  it('readBrokerOptions accepts only one way to reach the hub', () => {
    expect(problems('--kubernetes', '--kubeconfig', ca)).toEqual([
      '--kubernetes and --kubeconfig are both given, keep one',
    ]);
  });

  it('readBrokerOptions requires certificate and key together', () => {
    expect(problems('--tls-cert', cert)).toEqual(['--tls-cert needs --tls-key as well']);
    expect(problems('--tls-key', key)).toEqual(['--tls-key needs --tls-cert as well']);
    expect(problems('--tls-cert', cert, '--tls-key', key)).toEqual([]);
    // One mistake is reported as one problem: the certificate is given, and only its file is wrong.
    expect(problems('--tls-cert', join(folder, 'none'), '--tls-key', key)).toHaveLength(1);
  });

  it('readBrokerOptions gives the gateway the TLS versions and suites of the broker', () => {
    const tls = ['--tls-min-version=VersionTLS13'];
    const { options, gateway } = readBrokerOptions(['--gateway-listen=127.0.0.1:0', ...tls], {});
    expect(options.tlsPolicy.minVersion).toBe('TLSv1.3');
    expect(gateway?.tlsPolicy).toBe(options.tlsPolicy);
  });

  it('readBrokerOptions enables a front for konnectivity clients when the options name one', () => {
    const tcp = ['--konnectivity-listen', '127.0.0.1:8090'];
    const { front, warnings } = readBrokerOptions(tcp, {});
    expect(front).toEqual({ listen: { host: '127.0.0.1', port: 8090 } });
    expect(warnings[1]).toMatch(/^no --konnectivity-client-ca: .* through 127.0.0.1:8090$/);
    const uds = ['--konnectivity-uds', '/run/k.sock', '--cluster', 'c1'];
    expect(readBrokerOptions(uds, {}).front).toEqual({ udsPath: '/run/k.sock', cluster: 'c1' });
  });

  const tls = [
    ['--konnectivity-tls-cert', cert],
    ['--konnectivity-tls-key', key],
    ['--konnectivity-client-ca', ca],
  ] as const;

  it('readBrokerOptions requires certificates of konnectivity clients when other machines can reach the front', () => {
    const tcp = ['--konnectivity-listen', '0.0.0.0:8090'];
    expect(problems(...tcp)).toEqual([
      '--konnectivity-listen=0.0.0.0:8090 can be reached from other machines but no client is asked for credentials, ' +
        'give --konnectivity-tls-cert and --konnectivity-tls-key and --konnectivity-client-ca, or listen on 127.0.0.1',
    ]);
    const { front } = readBrokerOptions([...tcp, ...tls.flat()], {});
    expect(front?.tls).toEqual({ certFile: cert, keyFile: key, clientCaFile: ca });
  });

  it.each(tls.map(([flag]) => flag))(
    'readBrokerOptions requires %s when the other two TLS files are given',
    (flag) => {
      const others = tls.filter(([other]) => other !== flag).flat();
      expect(problems('--konnectivity-listen', '127.0.0.1:0', ...others)).toEqual([
        `TLS on --konnectivity-listen also needs ${flag}`,
      ]);
    },
  );

  const agentListen = [
    ...['--konnectivity-agent-listen', '0.0.0.0:8091'],
    ...['--konnectivity-agent-tls-cert', cert, '--konnectivity-agent-tls-key', key],
  ];
  const account = [
    ...['--konnectivity-agent-namespace', 'ns', '--konnectivity-agent-service-account', 'sa'],
    ...['--konnectivity-agent-audience', 'aud'],
  ];
  const oneCluster = ['--konnectivity-uds', '/run/k.sock', '--cluster', 'c1'];

  it('readBrokerOptions reads how standard agents connect and are chosen', () => {
    const certificate = ['--konnectivity-agent-ca', ca];
    const { agents } = readBrokerOptions([...agentListen, ...certificate, ...oneCluster], {});
    expect(agents).toMatchObject({
      listen: { host: '0.0.0.0', port: 8091 },
      tls: { certFile: cert, keyFile: key, clientCaFile: ca },
      cluster: 'c1',
      strategies: ['default'],
      serverId: 'culvert',
      serverCount: 1,
    });
    const strategies = ['destHost', 'defaultRoute'].flatMap((strategy) => [
      '--konnectivity-agent-strategies',
      strategy,
    ]);
    const kube = ['--kubernetes', ...oneCluster];
    const more = readBrokerOptions([...agentListen, ...account, ...strategies, ...kube], {});
    expect(more.agents).toMatchObject({
      serviceAccount: { namespace: 'ns', name: 'sa', audience: 'aud' },
      strategies: ['destHost', 'defaultRoute'],
    });
    const tokens = readBrokerOptions([...agentListen, '--kubernetes'], {});
    expect(tokens.agents).toMatchObject({ cluster: undefined, serviceAccount: undefined });
  });

  it.each([
    ['--konnectivity-agent-ca is for --konnectivity-agent-listen', ['--konnectivity-agent-ca', ca]],
    [
      '--konnectivity-agent-listen also needs --konnectivity-agent-tls-cert and --konnectivity-agent-tls-key',
      ['--konnectivity-agent-listen', '127.0.0.1:0', '--konnectivity-agent-ca', ca],
    ],
    ['needs a way to authenticate agents', agentListen],
    ['needs a way to authenticate agents', [...agentListen, '--kubernetes', ...oneCluster]],
    [
      'belong together, give --konnectivity-agent-audience as well',
      [...agentListen, ...account.slice(0, 4), '--kubernetes', ...oneCluster],
    ],
    [
      'are both given, keep one',
      [...agentListen, ...account, '--konnectivity-agent-ca', ca, '--kubernetes', ...oneCluster],
    ],
    ['needs --cluster', [...agentListen, ...account, '--kubernetes']],
    ['needs --kubernetes or --kubeconfig', [...agentListen, ...account, ...oneCluster]],
  ])('readBrokerOptions reports a listener of standard agents that %s', (problem, argv) => {
    expect(problems(...argv)).toEqual([expect.stringContaining(problem)]);
  });

  it('readBrokerOptions requires certificate and key for Redis together, and TLS for its files', () => {
    const replica = ['--replica-address', 'ws://127.0.0.1:1', '--replica-key-file', key];
    const withUrl = (url: string, ...argv: string[]) =>
      problemsOf(() => readBrokerOptions([...replica, ...argv], { CULVERT_REDIS_URL: url }));
    expect(withUrl('rediss://r', '--redis-cert', cert)).toEqual([
      '--redis-cert needs --redis-key as well',
    ]);
    expect(withUrl(' rediss+cluster://r', '--redis-cert', cert, '--redis-key', key)).toEqual([]);
    expect(withUrl('redis://:hunter2@r', '--redis-ca', ca)).toEqual([
      '--redis-ca is for TLS, but CULVERT_REDIS_URL has none, use rediss:// (or rediss+sentinel://, rediss+cluster://)',
    ]);
    expect(problems('--redis-ca', ca)).toEqual([
      '--redis-ca is for --redis-url, which is not given',
    ]);
  });

  it('readBrokerOptions refuses options of a front that is not enabled, instead of ignoring them', () => {
    expect(problems('--konnectivity-client-ca', ca, '--cluster', 'c1')).toEqual([
      '--konnectivity-client-ca is for --konnectivity-listen, which is not given',
      '--cluster needs a front for konnectivity clients, give --konnectivity-listen or --konnectivity-uds',
    ]);
  });
});

describe('readAgentOptions', () => {
  const needed = ['--broker-url', 'wss://hub.example', '--cluster', '1st'];
  const options = (argv: string[] = [], env: Env = {}) =>
    readAgentOptions([...needed, ...argv], env).options;
  const problems = (argv: string[], env: Env = {}) => problemsOf(() => readAgentOptions(argv, env));

  it('readAgentOptions reads headers for gateways, from flags and from a file that may change', async () => {
    const headers = file('headers', 'X-Secret: one\n');
    const { options: read } = readAgentOptions(
      [...needed, '--header', 'X-Id=1,2', '--header', 'X-B=b', '--header-file', headers],
      {},
    );
    expect(await read.readHeaders!()).toEqual({ 'X-Id': '1,2', 'X-B': 'b', 'X-Secret': 'one' });
    file('headers', 'X-Secret: two');
    expect(await read.readHeaders!()).toMatchObject({ 'X-Secret': 'two' });
    file('headers', 'X-Secret: three\nX-id: 1');
    await expect(read.readHeaders!()).rejects.toThrow('the header X-id is given twice, keep one');
    expect(inspect(read, { depth: 9 })).not.toMatch(/\b(?:one|two|three)\b/);
  });

  it('readAgentOptions refuses headers that cannot be sent, without repeating their values', () => {
    const headers = file('headers', 'X-Secret: one\n');
    expect(
      problemsOf(() => readAgentOptions([...needed, '--header', 'Upgrade=hidden'], {})),
    ).toEqual(['--header sets Upgrade, which this program sets itself']);
    expect(problemsOf(() => readAgentOptions(needed, { CULVERT_HEADER: 'hidden' }))).toEqual([
      'CULVERT_HEADER is not NAME=VALUE',
    ]);
    const plain = ['--broker-url', 'ws://hub.example', '--cluster', 'c1'];
    expect(problemsOf(() => readAgentOptions([...plain, '--header-file', headers], {}))).toEqual([
      '--broker-url=ws://hub.example would send what --header-file holds unencrypted, use wss:// (ws:// is for loopback addresses)',
    ]);
    const viaHub = ['--broker-via-hub', 'hub/https:p:a', '--hub-kubeconfig', key, '--cluster', 'c'];
    expect(problemsOf(() => readAgentOptions([...viaHub, '--header', 'A=b'], {}))).toEqual([
      '--header is for a gateway in front of --broker-url, it is not sent to the API server of the hub',
    ]);
  });

  it('readAgentOptions requires the broker and the cluster', () => {
    expect(problems([])).toEqual([
      '--cluster is required (or CULVERT_CLUSTER)',
      '--broker-url is required (or CULVERT_BROKER_URL), or --broker-via-hub',
    ]);
    expect(options()).toMatchObject({
      cluster: '1st',
      allow: [],
      kubeApiserver: { host: 'kubernetes.default.svc', port: undefined },
      dialTimeoutMs: 5_000,
      drainTimeoutMs: 30_000,
    });
  });

  it('readAgentOptions reads the token again at each call, so that it can be replaced', async () => {
    const path = file('token', 'one');
    const { readToken } = options(['--token-file', path]);
    expect((await readToken())?.reveal()).toBe('one');
    file('token', 'two\n');
    expect((await readToken())?.reveal()).toBe('two');
  });

  it('readAgentOptions reads the token from its variable, but prefers a file that a flag names', async () => {
    const env = { CULVERT_TOKEN: 'from-env' };
    expect((await options([], env).readToken())?.reveal()).toBe('from-env');
    const withFile = options(['--token-file', file('token2', 'from-file')], env);
    expect((await withFile.readToken())?.reveal()).toBe('from-file');
    expect(await options().readToken()).toBeUndefined();
    expect(problems(needed, { ...env, CULVERT_TOKEN_FILE: cert })).toEqual([
      'CULVERT_TOKEN_FILE and CULVERT_TOKEN are both set, keep one',
    ]);
  });

  it('readAgentOptions refuses to send a token unencrypted to another machine', () => {
    const env = { CULVERT_TOKEN: 'sesame' };
    const plain = (url: string) => problems(['--broker-url', url, '--cluster', 'c1'], env);
    expect(plain('ws://hub.example:8080/x?y=z')).toEqual([
      '--broker-url=ws://hub.example:8080 would send the token unencrypted, use wss:// (ws:// is for loopback addresses)',
    ]);
    expect(plain('ws://127.0.0.1:8080')).toEqual([]);
    expect(plain('ws://[::1]:8080')).toEqual([]);
    expect(plain('wss://hub.example')).toEqual([]);
  });

  it('readAgentOptions refuses TLS options for a URL without TLS', () => {
    expect(
      problems(['--broker-url', 'ws://localhost', '--cluster', 'c1', '--ca-file', ca]),
    ).toEqual(['--ca-file is for TLS, but --broker-url=ws://localhost has none, use wss://']);
  });

  const viaHub = ['--cluster', 'c1', '--broker-via-hub', 'hub/https:proxy-entrypoint:agent-server'];

  it('readAgentOptions accepts a broker that is reached directly or through the hub, but not both', () => {
    const withKubeconfig = [...viaHub, '--hub-kubeconfig', '/etc/kubeconfig/kubeconfig'];
    expect(readAgentOptions(withKubeconfig, {}).options).toMatchObject({
      brokerUrl: undefined,
      brokerViaHub: { namespace: 'hub', service: 'https:proxy-entrypoint:agent-server' },
      hubKubeconfig: '/etc/kubeconfig/kubeconfig',
    });
    expect(problems([...withKubeconfig, '--broker-url', 'wss://hub'])).toEqual([
      '--broker-url and --broker-via-hub are both given, keep the one that agents should use',
    ]);
    expect(problems(viaHub)).toEqual(['--broker-via-hub needs --hub-kubeconfig as well']);
    expect(problems([...withKubeconfig, '--token-file', cert])).toEqual([
      '--token-file does not pass the API server of the hub, with --broker-via-hub give --certificate-dir',
    ]);
  });

  it.each(['hub', 'hub/proxy-entrypoint', 'hub/ftp:a:b', 'hub/https:a:b/c', '/https:a:b'])(
    'readAgentOptions refuses %s as a Service of the hub',
    (text) => {
      const argv = ['--cluster', 'c1', '--broker-via-hub', text, '--hub-kubeconfig', 'f'];
      expect(problems(argv)).toEqual([
        `--broker-via-hub=${JSON.stringify(text)} is not NAMESPACE/SCHEME:SERVICE:PORT (hub/https:proxy-entrypoint:agent-server)`,
      ]);
    },
  );

  it('readAgentOptions reads the lease and the address for probes', () => {
    const argv = ['--lease', 'ns/cluster-proxy', '--status-listen', '0.0.0.0:8888'];
    expect(options(argv)).toMatchObject({
      lease: { namespace: 'ns', name: 'cluster-proxy' },
      statusListen: { host: '0.0.0.0', port: 8888 },
    });
    expect(problems([...needed, '--lease', 'cluster-proxy'])).toEqual([
      '--lease="cluster-proxy" is not NAMESPACE/NAME',
    ]);
  });

  it.each(['--certificate-dir', '--hub-kubeconfig'])(
    'readAgentOptions refuses to send the credentials of %s unencrypted to another machine',
    (flag) => {
      const plain = ['--broker-url', 'ws://hub.example', '--cluster', 'c1', flag, '/x'];
      expect(problems(plain)).toEqual([
        `--broker-url=ws://hub.example would show the credential of ${flag} unencrypted, use wss:// (ws:// is for loopback addresses)`,
      ]);
    },
  );

  it('readAgentOptions reports each malformed destination pattern', () => {
    expect(
      problems([...needed, '--allow', 'db:5432', '--allow', 'db', '--allow', '10/99:1']),
    ).toEqual([
      expect.stringMatching(/^--allow="db" is no destination/),
      expect.stringMatching(/^--allow="10\/99:1" holds a malformed CIDR/),
    ]);
  });

  it('readAgentOptions reads the proxies from the environment and does not print their passwords', () => {
    const env = {
      HTTPS_PROXY: 'http://me:hunter2@proxy:3128',
      no_proxy: 'localhost',
      HTTP_PROXY: '',
    };
    const { proxies } = options([], env);
    expect(proxies.httpsProxy?.reveal()).toBe(env.HTTPS_PROXY);
    expect(proxies.httpProxy).toBeUndefined();
    expect(proxies.noProxy).toBe('localhost');
    expect(inspect(options([], env), { depth: 9 })).not.toContain('hunter2');
    expect(readBrokerOptions([], env).options.proxies).toEqual(proxies);
  });
});

describe('readBridgeOptions', () => {
  it('readBridgeOptions requires a listener and a broker, and reports both problems together', () => {
    expect(problemsOf(() => readBridgeOptions([], {}))).toEqual([
      '--broker-url is required (or CULVERT_BROKER_URL)',
      'nothing to listen on, give --konnectivity-listen (127.0.0.1:8090), --konnectivity-uds or --socks5-listen',
    ]);
  });

  it('readBridgeOptions protects the SOCKS 5 listener as it protects the konnectivity listener', () => {
    const read = (...argv: string[]) => readBridgeOptions(['--broker-url=wss://hub', ...argv], {});
    const problems = (...argv: string[]) => problemsOf(() => read(...argv));
    expect(problems('--socks5-listen=0.0.0.0:1080')).toEqual([
      '--socks5-listen=0.0.0.0:1080 can be reached from other machines but no client is asked for credentials, ' +
        'give --konnectivity-tls-cert and --konnectivity-tls-key and --konnectivity-client-ca, or listen on 127.0.0.1',
    ]);
    expect(problems('--konnectivity-uds=/run/k.sock', '--socks5-require-token')).toEqual([
      '--socks5-require-token is for --socks5-listen, which is not given',
    ]);
    const open = read('--socks5-listen=127.0.0.1:0');
    expect(open.options.front.socks5).toMatchObject({ requiresToken: false });
    expect(open.warnings).toHaveLength(1);
    const closed = read('--socks5-listen=127.0.0.1:0', '--socks5-require-token');
    expect(closed.options.front.socks5).toMatchObject({ requiresToken: true });
    expect(closed.warnings).toEqual([]);
  });

  it('readBridgeOptions returns weights and limits of clients and clusters', () => {
    const argv = ['--broker-url=wss://hub', '--konnectivity-uds=/run/k.sock'];
    const given = [
      ...['--client-bytes-per-second=50MiB', '--client-dials-per-second=100'],
      ...['--client-weight=CN=kube=5', '--client-weight=backup=1'],
      '--cluster-dials-per-second=200',
    ];
    const { front } = readBridgeOptions([...argv, ...given], {}).options;
    expect(front.shares).toEqual({
      client: { bytesPerSecond: 50 * 1024 * 1024, dialsPerSecond: 100 },
      cluster: { bytesPerSecond: undefined, dialsPerSecond: 200 },
      weights: new Map([
        ['CN=kube', 5],
        ['backup', 1],
      ]),
    });
    expect(readBridgeOptions(argv, {}).options.front.shares).toBeUndefined();
    expect(
      problemsOf(() =>
        readBridgeOptions([...argv, '--client-weight=a', '--client-weight=b=101'], {}),
      ),
    ).toEqual([
      '--client-weight="a" is not NAME=WEIGHT',
      '--client-weight="b=101" is too large, at most 100',
    ]);
    expect(problemsOf(() => readBrokerOptions(['--client-dials-per-second=1'], {}))).toContain(
      '--client-dials-per-second needs a front for konnectivity clients',
    );
  });

  it('readBridgeOptions returns the front and the link to the broker', async () => {
    const argv = ['--broker-url=wss://hub', '--konnectivity-uds=/run/k.sock', '--host-header=h'];
    const { options, warnings } = readBridgeOptions(argv, { CULVERT_TOKEN: 't' });
    expect(options.front.udsPath).toBe('/run/k.sock');
    expect(options.link).toMatchObject({ hostHeader: 'h', caFile: undefined });
    expect((await options.link.readToken())?.reveal()).toBe('t');
    expect(options.drainTimeoutMs).toBe(30_000);
    expect(warnings).toEqual([]);
  });
});
