import { existsSync } from 'node:fs';
import { formatHostPort } from '../../base/net/host-port.ts';
import {
  type Env,
  type OptionsOf,
  type OptionsTable,
  withoutVariables,
} from '../../base/options/option-table.ts';
import type { OptionsDraft } from '../../base/options/read-options.ts';
import { tlsTable } from '../../base/options/tls-options.ts';
import {
  commonIgnored,
  commonIgnoredBooleans,
  ignoredFlags,
  logLevelOf,
  readUpstreamFlags,
  type UpstreamFlags,
  parseGoDuration,
  verbosityTable,
} from './upstream-flags.ts';

const port = { kind: 'integer', min: 0, max: 49_151 } as const;
const file = { kind: 'file' } as const;
const text = { kind: 'string', placeholder: 'TEXT' } as const;
const duration = { kind: 'parsed', parse: parseGoDuration, placeholder: 'DURATION' } as const;
const host = { kind: 'string', placeholder: 'HOST' } as const;

export const clientTable = withoutVariables({
  mode: {
    name: 'mode',
    kind: 'choice',
    choices: ['grpc', 'http-connect'],
    default: 'grpc',
    help: 'Accepted for compatibility. Clients may use either, because the first bytes of a connection decide.',
  },
  udsName: {
    ...{ name: 'uds-name', kind: 'string', placeholder: 'PATH' },
    help: 'The path of a Unix socket for clients, instead of --server-port.',
  },
  deleteExistingUdsFile: {
    ...{ name: 'delete-existing-uds-file', kind: 'boolean', default: 'true' },
    help: 'Removes a socket without a listener at --uds-name. If false, such a socket is an error.',
  },
  serverPort: {
    ...{ name: 'server-port', ...port, default: '8090' },
    help: 'The port for clients. 0 with --uds-name.',
  },
  serverBindAddress: {
    ...{ name: 'server-bind-address', ...host },
    help: 'The address for clients. Default: every address.',
  },
  serverCert: { name: 'server-cert', ...file, help: 'Certificate chain (PEM) for --server-port.' },
  serverKey: { name: 'server-key', ...file, help: 'Private key (PEM) of --server-cert.' },
  serverCaCert: {
    ...{ name: 'server-ca-cert', ...file, holdsCasOf: 'clients' },
    help: 'The CAs (PEM) that issue the certificates of clients.',
  },
} as const satisfies OptionsTable);

export const agentPortTable = withoutVariables({
  agentPort: {
    ...{ name: 'agent-port', ...port, default: '8091' },
    help: 'The port for agents: konnectivity agents, and culvert agents over WebSockets.',
  },
  agentBindAddress: {
    ...{ name: 'agent-bind-address', ...host },
    help: 'The address for agents. Default: every address.',
  },
  clusterCert: {
    ...{ name: 'cluster-cert', ...file, required: true },
    help: 'Certificate chain (PEM) for --agent-port.',
  },
  clusterKey: {
    ...{ name: 'cluster-key', ...file, required: true },
    help: 'Private key (PEM) of --cluster-cert.',
  },
  clusterCaCert: {
    ...{ name: 'cluster-ca-cert', ...file, holdsCasOf: 'clients' },
    help: 'The CAs (PEM) that issue the certificates of agents.',
  },
  agentNamespace: {
    ...{ name: 'agent-namespace', ...text },
    help: 'The namespace of the ServiceAccount of agents, which show its token instead of a certificate.',
  },
  agentServiceAccount: {
    ...{ name: 'agent-service-account', ...text },
    help: 'The ServiceAccount of agents in --agent-namespace.',
  },
  authenticationAudience: {
    ...{ name: 'authentication-audience', ...text },
    help: 'The audience of tokens of agents.',
  },
  kubeconfig: {
    ...{ name: 'kubeconfig', ...file },
    help: 'The API server that reviews tokens of agents. Default: the API server of the cluster in which this runs.',
  },
  proxyStrategies: {
    ...{ name: 'proxy-strategies', kind: 'string', placeholder: 'LIST', default: 'default' },
    help: 'How an agent is chosen: default, destHost and defaultRoute, in this order, separated by commas.',
  },
  serverId: {
    ...{ name: 'server-id', kind: 'string', placeholder: 'ID' },
    default: { help: 'a random UUID', make: () => crypto.randomUUID() },
    help: 'The name of this server, which agents learn. PROXY_SERVER_ID sets it too.',
  },
  serverCount: {
    ...{ name: 'server-count', kind: 'integer', min: 1, default: '1' },
    help: 'The number of servers, which agents learn. Servers of one --server-id share their agents.',
  },
  enableLeaseController: {
    ...{ name: 'enable-lease-controller', kind: 'boolean' },
    help: 'Publishes a Lease of this server, for agents that run with --count-server-leases.',
  },
  leaseNamespace: {
    ...{ name: 'lease-namespace', ...text, default: 'kube-system' },
    help: 'The namespace of the Leases.',
  },
  leaseLabel: {
    ...{ name: 'lease-label', ...text, default: 'k8s-app=konnectivity-server' },
    help: 'The label of the Leases of all servers.',
  },
} as const satisfies OptionsTable);

export const serverHealthTable = withoutVariables({
  healthPort: {
    ...{ name: 'health-port', ...port, default: '8092' },
    help: 'The port of /healthz, /readyz (at least one agent is connected) and /metrics.',
  },
  healthBindAddress: {
    ...{ name: 'health-bind-address', ...host },
    help: 'The address of --health-port. Default: every address.',
  },
  adminPort: {
    ...{ name: 'admin-port', ...port, default: '8095' },
    help: 'A second port of the same paths.',
  },
  adminBindAddress: {
    ...{ name: 'admin-bind-address', ...host, default: '127.0.0.1' },
    help: 'The address of --admin-port.',
  },
  gracefulShutdownTimeoutMs: {
    ...{ name: 'graceful-shutdown-timeout', ...duration, default: '0' },
    help: 'How long open connections may continue after SIGTERM.',
  },
  ...tlsTable,
  ...verbosityTable,
} as const satisfies OptionsTable);

const ownPings = 'connections are checked with PINGs after 10 s of silence';
export const serverIgnored = ignoredFlags(
  {
    ...commonIgnored,
    'keepalive-time': ownPings,
    'frontend-keepalive-time': ownPings,
    'backend-dial-timeout': 'every dial is answered after 15 s at the latest',
    'kubeconfig-qps': 'reviews of tokens have their own limit',
    'kubeconfig-burst': 'reviews of tokens have their own limit',
  },
  [...commonIgnoredBooleans],
);

const table = { ...clientTable, ...agentPortTable, ...serverHealthTable } as const;
type Values = OptionsOf<typeof table>;

export type ProxyServerOptions = UpstreamFlags<typeof table>;

/**
 * Reads the flags of konnectivity's proxy-server 0.36.
 *
 * @throws ConfigError with all problems together
 */
export function readProxyServerOptions(argv: readonly string[], env: Env): ProxyServerOptions {
  const id = { flag: '--server-id', variable: 'PROXY_SERVER_ID' };
  return readUpstreamFlags({ table, ignored: serverIgnored, id, check }, argv, env);
}

function check({ values, given, label, problem }: OptionsDraft<typeof table>): void {
  const tcp = ['serverCert', 'serverKey', 'serverCaCert'] as const;
  const { udsName } = values;
  if (values.deleteExistingUdsFile === false && udsName !== undefined && existsSync(udsName)) {
    problem(`--uds-name=${udsName} exists, and --delete-existing-uds-file is false`);
  }
  if (given('udsName')) {
    if (values.serverPort !== 0) problem('--uds-name needs --server-port=0');
    for (const key of tcp) {
      if (given(key)) problem(`${label(key)} is for --server-port, not for --uds-name`);
    }
  } else {
    if (values.serverPort === 0) problem('--server-port=0 needs --uds-name');
    for (const key of tcp) if (!given(key)) problem(`${label(key)} is required with --server-port`);
  }
  const byToken = given('agentNamespace');
  if (byToken === given('clusterCaCert')) {
    problem(
      byToken
        ? '--agent-namespace and --cluster-ca-cert are both given, keep one: agents show a token or a certificate'
        : 'agents need a credential, give --cluster-ca-cert, or --agent-namespace for tokens',
    );
  }
  for (const key of ['agentServiceAccount', 'authenticationAudience'] as const) {
    if (byToken && !given(key)) problem(`--agent-namespace needs ${label(key)} as well`);
  }
}

/** The cluster of a proxy server, which knows only one. */
export const onlyCluster = 'cluster';

/** The command line of `culvert broker` that does the same. */
export function brokerArgvOf(values: Values): string[] {
  const { udsName, agentNamespace, kubeconfig } = values;
  const client =
    udsName === undefined
      ? [
          flag('konnectivity-listen', hostPort(values.serverBindAddress, values.serverPort)),
          flag('konnectivity-tls-cert', values.serverCert),
          flag('konnectivity-tls-key', values.serverKey),
          flag('konnectivity-client-ca', values.serverCaCert),
        ]
      : [flag('konnectivity-uds', udsName)];
  const apiServer = kubeconfig === undefined ? ['--kubernetes'] : [flag('kubeconfig', kubeconfig)];
  const { enableLeaseController: hasLease } = values;
  const byToken = [
    ...(agentNamespace === undefined && !hasLease ? [] : apiServer),
    flag('konnectivity-agent-namespace', agentNamespace),
    flag('konnectivity-agent-service-account', values.agentServiceAccount),
    flag('konnectivity-agent-audience', values.authenticationAudience),
  ];
  const byCertificate = [
    flag('konnectivity-agent-ca', values.clusterCaCert),
    flag('agent-ca', values.clusterCaCert),
    values.clusterCaCert && flag('agent-ca-cluster', onlyCluster),
  ];
  return [
    ...client,
    ...byToken,
    ...byCertificate,
    flag('cluster', onlyCluster),
    flag('konnectivity-agent-listen', hostPort(values.agentBindAddress, values.agentPort)),
    flag('konnectivity-agent-tls-cert', values.clusterCert),
    flag('konnectivity-agent-tls-key', values.clusterKey),
    ...values.proxyStrategies
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '')
      .map((name) => flag('konnectivity-agent-strategies', name)),
    flag('server-id', values.serverId),
    flag('server-count', String(values.serverCount)),
    hasLease ? flag('server-lease-namespace', values.leaseNamespace) : undefined,
    hasLease ? flag('server-lease-label', values.leaseLabel) : undefined,
    flag('drain-timeout', `${values.gracefulShutdownTimeoutMs}ms`),
    flag('tls-min-version', values.tlsMinVersion),
    values.cipherSuites && flag('cipher-suites', values.cipherSuites.join(',')),
    flag('log-level', logLevelOf(values.v)),
  ].filter((argument) => argument !== undefined);
}

/** Without a host, a program listens at every address, of IPv4 and IPv6. */
export function hostPort(address: string | undefined, portNumber: number): string {
  const at = address === undefined || address === '' ? '::' : address;
  return formatHostPort({ host: at, port: portNumber });
}

function flag(name: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : `--${name}=${value}`;
}
