import { hostname } from 'node:os';
import { connectionShare } from '../../base/server/open-file-limit.ts';
import type { OptionsDraft } from '../../base/options/read-options.ts';
import { processId } from '../../base/options/process-options.ts';
import { brokerOperatorTable } from '../../base/options/passthrough-options.ts';
import type { OptionsTable } from '../../base/options/option-table.ts';
import type { ProxyEnvironment } from '../../base/net/proxy-environment.ts';
import type { Secret } from '../../base/secret.ts';
import type { TlsPolicy } from '../../base/tls/tls-policy.ts';
import { type TrustedProxies, trustedProxiesProblem } from '../../base/server/trusted-proxies.ts';
import { formatHostPort, type HostPort, isLoopback } from '../../base/net/host-port.ts';

/** What `startBroker` is told. The paths are of files that could be read at the start, and may change while running. */
export interface BrokerOptions {
  /** Port 0 lets the system choose. */
  readonly listen: HostPort;
  /** PEM file; with `tlsKey`, or neither: then TLS ends in front of the broker. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** Versions and cipher suites of that TLS. */
  readonly tlsPolicy?: TlsPolicy | undefined;
  /** PEM files with the public keys of enrolment tokens; a token of any of them is accepted. Empty: no credentials are asked for. */
  readonly tokenPublicKey: readonly string[];
  /** PEM file with the CAs of agents' registration certificates; undefined: no certificate makes anybody an agent. */
  readonly agentCa?: string | undefined;
  /** The hub's API server checks tokens of agents and says which clusters are accepted; undefined: neither is asked. */
  readonly hub?: HubAccess | undefined;
  /** On the way to the hub's API server (default: none). */
  readonly proxies?: ProxyEnvironment | undefined;
  /** Where probes ask, without TLS. */
  readonly statusListen?: HostPort | undefined;
  /** Names this process among the replicas; unique. */
  readonly replicaId: string;
  /** Where the directory of several replicas is; undefined for a broker that is alone. */
  readonly redisUrl: Secret | undefined;
  /** PEM file with the CA of `rediss://`. */
  readonly redisCa: string | undefined;
  /** PEM files with the client certificate for `rediss://` and its key. */
  readonly redisCert?: string | undefined;
  readonly redisKey?: string | undefined;
  readonly redisPrefix: string;
  /** Where other replicas reach this one; with `redisUrl`. */
  readonly replicaAddress: URL | undefined;
  /** Whether replicas may be reached by ws:// beyond loopback (default: no). */
  readonly allowPlainReplicas?: boolean | undefined;
  /** File with the key that the replicas share, or several, a line each; with `redisUrl`. */
  readonly replicaKeyFile: string | undefined;
  /** PEM file with the CA of the other replicas' certificates. */
  readonly replicaCa: string | undefined;
  /** The name in the other replicas' certificates, where it is not the host of their addresses. */
  readonly replicaServerName?: string | undefined;
  /** WebSocket upgrades with a good credential per second; above it the answer is 503 with Retry-After. */
  readonly acceptRate: number;
  /** Connections to `listen` at a time (default: as many as the limit of open files allows). */
  readonly maxConnections?: number;
  /** Tunnels of one cluster (default: `defaultAdmissionLimits.maxTunnelsPerCluster`). */
  readonly maxTunnelsPerCluster?: number;
  /** Whose X-Forwarded-For is believed (default: nobody's). */
  readonly trustedProxies?: TrustedProxies | undefined;
  /** How long streams may go on after a drain began, in milliseconds. */
  readonly drainTimeoutMs: number;
}

/** How the hub's API server is reached: as the pod that this runs in, or as a kubeconfig says. */
export type HubAccess =
  | { readonly from: 'pod' }
  | { readonly from: 'kubeconfig'; readonly path: string };

export const brokerTable = {
  listen: {
    name: 'listen',
    kind: 'hostPort',
    default: '127.0.0.1:8080',
    help: 'Where agents and dialers connect. An address that other machines can reach needs credentials: --agent-ca, --kubernetes or --token-public-key.',
  },
  tlsCert: {
    name: 'tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --listen. Leave it out where an ingress ends TLS in front of the broker.',
  },
  tlsKey: { name: 'tls-key', kind: 'file', help: 'Private key (PEM) of --tls-cert.' },
  tokenPublicKey: {
    name: 'token-public-key',
    kind: 'file',
    repeatable: true,
    help: 'Public key (PEM) of enrolment tokens, made by `culvert token keygen`. Several are accepted side by side, for rotation, also in one file.',
  },
  agentCa: {
    name: 'agent-ca',
    kind: 'file',
    holdsCasOf: 'clients',
    help: "The CAs (PEM) that sign agents' certificates for their registration with the hub; agents show them in the TLS handshake or by a token.",
  },
  kubernetes: {
    name: 'kubernetes',
    kind: 'boolean',
    help: "Asks the API server of the cluster that this runs in about agents' ServiceAccount tokens, and which ManagedClusters are accepted.",
  },
  kubeconfig: {
    name: 'kubeconfig',
    kind: 'file',
    help: 'The same as --kubernetes, as the current context of this kubeconfig.',
  },
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'Serves /healthz, /readyz and /metrics over plain HTTP, for probes that show no credential.',
  },
  replicaId: {
    name: 'replica-id',
    kind: 'string',
    placeholder: 'ID',
    default: { help: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'Names this process among the replicas of the broker.',
  },
  acceptRate: brokerOperatorTable.acceptRate,
  maxConnections: brokerOperatorTable.maxConnections,
  maxTunnelsPerCluster: brokerOperatorTable.maxTunnelsPerCluster,
  trustedProxies: brokerOperatorTable.trustedProxies,
} as const satisfies OptionsTable;

export const replicaTable = {
  redisUrl: {
    name: 'redis-url',
    kind: 'string',
    secret: true,
    placeholder: 'URL',
    help: 'The directory of several replicas: redis://, rediss://, redis+sentinel:// or redis+cluster://. Without it the broker is alone.',
  },
  redisCa: {
    name: 'redis-ca',
    kind: 'file',
    holdsCasOf: 'servers',
    help: 'Certificates (PEM) to trust for rediss:// besides the well-known ones. Read again when they change.',
  },
  redisCert: {
    name: 'redis-cert',
    kind: 'file',
    help: 'A client certificate (PEM) for a rediss:// that asks for one; with --redis-key. Read again when it changes.',
  },
  redisKey: { name: 'redis-key', kind: 'file', help: 'The key (PEM) of --redis-cert.' },
  redisPrefix: {
    name: 'redis-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    default: 'culvert:',
    help: 'Starts every key in Redis, so that several deployments can share one.',
  },
  replicaAddress: {
    name: 'replica-address',
    kind: 'url',
    protocols: ['ws:', 'wss:'],
    help: 'Where the other replicas reach this one, such as wss://10.0.0.7:8443. Needed with --redis-url.',
  },
  allowPlainReplicas: {
    name: 'allow-plain-replicas',
    kind: 'boolean',
    help: 'Lets replicas reach each other by ws:// also beyond loopback. Whoever can listen there sees to whom clients talk, and may take over sessions: only for a network that is encrypted itself.',
  },
  replicaKeyFile: {
    name: 'replica-key-file',
    kind: 'file',
    help: 'Holds the key that the replicas share to know each other. Needed with --redis-url. A key on each line, of 16 characters or more: the first signs, all are accepted. Read again when it changes.',
  },
  replicaCa: {
    name: 'replica-ca',
    kind: 'file',
    holdsCasOf: 'servers',
    help: "Certificates (PEM) to trust for the other replicas' wss:// addresses.",
  },
  replicaServerName: {
    name: 'replica-server-name',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The name that the certificates of the other replicas carry, where it is not the host of their addresses.',
  },
} as const satisfies OptionsTable;

/** The two tables together: what `checkBroker` looks at. */
const allTable = { ...brokerTable, ...replicaTable };

/** The hub's API server, where one of the two options names it. */
export function hubAccess(values: {
  readonly kubernetes: boolean;
  readonly kubeconfig: string | undefined;
}): HubAccess | undefined {
  if (values.kubeconfig !== undefined) return { from: 'kubeconfig', path: values.kubeconfig };
  return values.kubernetes ? { from: 'pod' } : undefined;
}

function checkRedisTls({ values, given, label, problem }: OptionsDraft<typeof allTable>): void {
  if (given('redisCert') !== given('redisKey')) {
    const [present, absent] = given('redisCert')
      ? (['redisCert', 'redisKey'] as const)
      : (['redisKey', 'redisCert'] as const);
    problem(`${label(present)} needs ${label(absent)} as well`);
  }
  const isTls = /^\s*rediss/.test(values.redisUrl?.reveal() ?? 'rediss');
  for (const key of ['redisCa', 'redisCert', 'redisKey'] as const) {
    if (given(key) && !given('redisUrl')) {
      problem(`${label(key)} is for ${label('redisUrl')}, which is not given`);
    } else if (given(key) && !isTls) {
      problem(
        `${label(key)} is for TLS, but ${label('redisUrl')} has none, use rediss:// (or rediss+sentinel://, rediss+cluster://)`,
      );
    }
  }
}

/** Problems between the options of `brokerTable` and `replicaTable`. */
export function checkBroker(draft: OptionsDraft<typeof allTable>): void {
  const { values, given, label, problem, warn } = draft;
  const trusted = values.trustedProxies && trustedProxiesProblem(values.trustedProxies);
  if (trusted !== undefined) problem(`${label('trustedProxies')}: ${trusted}`);
  const { maxConnections = 0 } = values;
  const possible = connectionShare(1);
  if (maxConnections > possible) {
    warn(
      `${label('maxConnections')}=${maxConnections} is more than the open file limit allows, ${possible} are; raise the limit (ulimit -n)`,
    );
  }
  if (given('tlsCert') !== given('tlsKey')) {
    const [present, absent] = given('tlsCert')
      ? (['tlsCert', 'tlsKey'] as const)
      : (['tlsKey', 'tlsCert'] as const);
    problem(`${label(present)} needs ${label(absent)} as well`);
  }
  checkRedisTls(draft);
  for (const key of ['replicaAddress', 'replicaKeyFile'] as const) {
    if (given('redisUrl') && !given(key))
      problem(`${label('redisUrl')} needs ${label(key)} as well`);
    if (given(key) && !given('redisUrl'))
      problem(`${label(key)} is for several replicas, give ${label('redisUrl')} as well`);
  }
  const { replicaAddress } = values;
  const isPlain = replicaAddress?.protocol === 'ws:' && !isLoopback(replicaAddress.hostname);
  if (isPlain && values.allowPlainReplicas !== true) {
    problem(
      `${label('replicaAddress')}=${replicaAddress.origin} is not encrypted, use wss:// with ${label('tlsCert')}, or allow it with --allow-plain-replicas`,
    );
  }
  if (given('kubernetes') && given('kubeconfig')) {
    problem(`${label('kubernetes')} and ${label('kubeconfig')} are both given, keep one`);
  }
  const asksForCredentials = (
    ['tokenPublicKey', 'agentCa', 'kubernetes', 'kubeconfig'] as const
  ).some(given);
  if (asksForCredentials || values.listen === undefined) return;
  const address = formatHostPort(values.listen);
  if (isLoopback(values.listen.host)) {
    warn(
      `no --agent-ca, --kubernetes or --token-public-key: every process on this machine may connect to ${address} as any cluster`,
    );
  } else {
    problem(
      `${label('listen')}=${address} can be reached from other machines but nobody is asked for credentials, ` +
        'give --agent-ca, --kubernetes or --token-public-key (culvert token keygen makes a key), or listen on 127.0.0.1',
    );
  }
}
