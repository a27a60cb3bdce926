import type { UpstreamRetry } from '../../agent/tunnel-reconnector.ts';
import { formatHostPort } from '../../base/net/host-port.ts';
import { type Env, type OptionsTable, withoutVariables } from '../../base/options/option-table.ts';
import { hostPort } from './proxy-server-options.ts';
import {
  commonIgnored,
  commonIgnoredBooleans,
  ignoredFlags,
  logLevelOf,
  parseGoDuration,
  readUpstreamFlags,
  type UpstreamFlags,
  verbosityTable,
} from './upstream-flags.ts';

const port = { kind: 'integer', min: 0, max: 65_535 } as const;
const duration = { kind: 'parsed', parse: parseGoDuration, placeholder: 'DURATION' } as const;
const host = { kind: 'string', placeholder: 'HOST' } as const;

export const proxyServerTable = withoutVariables({
  proxyServerHost: {
    ...{ name: 'proxy-server-host', ...host, default: '127.0.0.1' },
    help: 'The host of the proxy server.',
  },
  proxyServerPort: {
    ...{ name: 'proxy-server-port', ...port, default: '8091' },
    help: 'The port for agents of the proxy server.',
  },
  caCert: {
    ...{ name: 'ca-cert', kind: 'file', holdsCasOf: 'servers' },
    help: 'CA certificates (PEM) to trust for the proxy server.',
  },
  agentCert: {
    ...{ name: 'agent-cert', kind: 'file' },
    help: 'Certificate chain (PEM) that is the credential of this agent.',
  },
  agentKey: { name: 'agent-key', kind: 'file', help: 'Private key (PEM) of --agent-cert.' },
  serviceAccountTokenPath: {
    ...{ name: 'service-account-token-path', kind: 'string', placeholder: 'FILE' },
    help: 'The token of a ServiceAccount that is the credential of this agent. The file is read again at every connect.',
  },
  syncIntervalMs: {
    ...{ name: 'sync-interval', ...duration, default: '1s' },
    help: 'The delay after an attempt to connect that was refused, and after the first minute of an outage. It grows by half with each attempt. In the first minute, the agent tries at least every 1.5 s.',
  },
  syncIntervalCapMs: {
    ...{ name: 'sync-interval-cap', ...duration, default: '10s' },
    help: 'The longest delay between attempts to connect.',
  },
  agentId: {
    ...{ name: 'agent-id', kind: 'string', placeholder: 'ID' },
    default: { help: 'a random UUID', make: () => crypto.randomUUID() },
    help: 'The name of this agent. PROXY_AGENT_ID sets it too.',
  },
} as const satisfies OptionsTable);

export const agentHealthTable = withoutVariables({
  healthServerHost: {
    ...{ name: 'health-server-host', ...host },
    help: 'The address of --health-server-port. Default: every address.',
  },
  healthServerPort: {
    ...{ name: 'health-server-port', ...port, default: '8093' },
    help: 'The port of /healthz, /readyz (a server is connected) and /metrics.',
  },
  ...verbosityTable,
} as const satisfies OptionsTable);

const oneTunnel = 'an agent connects at once after an outage, and to as many servers as share it';
export const agentIgnored = ignoredFlags(
  {
    ...commonIgnored,
    'admin-bind-address': 'the paths are at --health-server-port',
    'admin-server-port': 'the paths are at --health-server-port',
    'keepalive-time': 'connections are checked every few seconds',
    'agent-identifiers':
      'every agent of a cluster gets dials, and the best one is chosen by results',
    'alpn-proto': 'tunnels are WebSockets',
    'count-server-leases': oneTunnel,
    'lease-label': oneTunnel,
    'lease-label-selector': oneTunnel,
    'lease-namespace': oneTunnel,
    'probe-interval': 'the agent notices the end of a connection at once',
    'server-count-source': oneTunnel,
    'sync-forever': oneTunnel,
    kubeconfig: oneTunnel,
  },
  [...commonIgnoredBooleans, 'count-server-leases', 'sync-forever'],
);

const table = { ...proxyServerTable, ...agentHealthTable } as const;

export type ProxyAgentOptions = UpstreamFlags<typeof table>;

/**
 * Reads the flags of konnectivity's proxy-agent 0.36.
 *
 * @throws ConfigError with all problems together
 */
export function readProxyAgentOptions(argv: readonly string[], env: Env): ProxyAgentOptions {
  const id = { flag: '--agent-id', variable: 'PROXY_AGENT_ID' };
  return readUpstreamFlags({ table, ignored: agentIgnored, id }, argv, env);
}

/** An agent with `--sync-interval=0` must not try without any pause. In milliseconds. */
const shortestRetryMs = 100;

/** The delays between attempts to connect. */
export function retryOf({ values }: ProxyAgentOptions): UpstreamRetry {
  const { syncIntervalMs, syncIntervalCapMs } = values;
  return {
    intervalMs: Math.max(shortestRetryMs, syncIntervalMs),
    capMs: Math.max(shortestRetryMs, syncIntervalCapMs),
  };
}

/** Destinations of upstream's agents: everything. Ours never dial the addresses of metadata services. */
const everything = ['*:*', '127.0.0.0/8:*', '[::1]/128:*', '0.0.0.0/32:*', '[::]/128:*'];

/** The command line of `culvert agent` that does the same. */
export function agentArgvOf({ values }: ProxyAgentOptions, cluster: string): string[] {
  const { proxyServerHost, proxyServerPort, healthServerHost, healthServerPort } = values;
  const { serviceAccountTokenPath: tokenFile } = values;
  // Upstream's agents need brackets around an IPv6 address.
  const host = proxyServerHost.replace(/^\[(.*)\]$/, '$1');
  return [
    `--broker-url=wss://${formatHostPort({ host, port: proxyServerPort })}`,
    `--cluster=${cluster}`,
    `--agent-id=${values.agentId}`,
    ...(values.caCert === undefined ? [] : [`--ca-file=${values.caCert}`]),
    ...(values.agentCert === undefined ? [] : [`--certificate-file=${values.agentCert}`]),
    ...(values.agentKey === undefined ? [] : [`--certificate-key-file=${values.agentKey}`]),
    ...(tokenFile === undefined ? [] : [`--token-file=${tokenFile}`]),
    '--enable-kube-api-proxy=false',
    ...everything.map((pattern) => `--allow=${pattern}`),
    `--status-listen=${hostPort(healthServerHost, healthServerPort)}`,
    `--log-level=${logLevelOf(values.v)}`,
  ];
}
