import { hostname } from 'node:os';
import { accessTable } from '../../access/options-table.ts';
import { formatHostPort, isLoopback } from '../../base/net/host-port.ts';
import { type ProxyEnvironment, readProxyEnvironment } from '../../base/net/proxy-environment.ts';
import { brokerLinkTable } from '../../base/options/broker-link-options.ts';
import { checkTogether } from '../../base/options/check-together.ts';
import type { Env, OptionsOf, OptionsTable } from '../../base/options/option-table.ts';
import { brokerPassthroughTable } from '../../base/options/passthrough-options.ts';
import { processId, processTable } from '../../base/options/process-options.ts';
import { omitOptions, type OptionsDraft, pickOptions } from '../../base/options/read-options.ts';
import { tlsPolicyOf, tlsTable } from '../../base/options/tls-options.ts';
import { connectionShare } from '../../base/server/open-file-limit.ts';
import type { TlsPolicy } from '../../base/tls/tls-policy.ts';

/**
 * How the broker reaches the hub's API server: as the pod that it runs in, or with a kubeconfig.
 */
export type HubAccess =
  | { readonly from: 'pod' }
  | { readonly from: 'kubeconfig'; readonly path: string };

export const brokerTable = {
  listen: {
    name: 'listen',
    kind: 'hostPort',
    default: '127.0.0.1:8080',
    help: 'The address at which agents and dialers connect. An address that other machines can reach needs credentials: --agent-ca, --kubernetes or --token-public-key.',
  },
  tlsCert: {
    name: 'tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --listen. Not needed when an ingress in front of the broker terminates TLS.',
  },
  tlsKey: { name: 'tls-key', kind: 'file', help: 'Private key (PEM) of --tls-cert.' },
  tokenPublicKey: {
    name: 'token-public-key',
    kind: 'file',
    repeatable: true,
    help: 'Public key (PEM) that verifies enrolment tokens. `culvert token keygen` creates it. For rotation, a file may hold several keys.',
  },
  agentCa: {
    name: 'agent-ca',
    kind: 'file',
    holdsCasOf: 'clients',
    help: 'The CAs (PEM) that sign the registration certificates of agents. An agent shows its certificate in the TLS handshake or in a token.',
  },
  agentCaCluster: {
    name: 'agent-ca-cluster',
    kind: 'clusterName',
    help: 'The cluster of every agent with a certificate of --agent-ca, whatever the certificate says. For a CA of one cluster, such as the cluster CA of a konnectivity server.',
  },
  kubernetes: {
    name: 'kubernetes',
    kind: 'boolean',
    help: 'Uses the API server of the cluster in which the broker runs, to verify ServiceAccount tokens of agents and to see which ManagedClusters are accepted.',
  },
  kubeconfig: {
    name: 'kubeconfig',
    kind: 'file',
    help: 'Like --kubernetes, but with the API server of the current context in this kubeconfig.',
  },
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'The address of /healthz, /readyz and /metrics, over plain HTTP and without credentials. Default: none.',
  },
  replicaId: {
    name: 'replica-id',
    kind: 'string',
    placeholder: 'ID',
    default: { help: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'The name of this process among the replicas of the broker. It must be unique.',
  },
  zone: brokerLinkTable.zone,
  acceptRate: brokerPassthroughTable.acceptRate,
  maxConnections: brokerPassthroughTable.maxConnections,
  maxTunnelsPerCluster: brokerPassthroughTable.maxTunnelsPerCluster,
  trustedProxies: brokerPassthroughTable.trustedProxies,
} as const satisfies OptionsTable;

export const replicaTable = {
  redisUrl: {
    name: 'redis-url',
    kind: 'string',
    secret: true,
    placeholder: 'URL',
    help: 'The Redis that replicas of the broker share: redis://, rediss://, redis+sentinel:// or redis+cluster://. A broker without it has no other replicas.',
  },
  redisCa: {
    name: 'redis-ca',
    kind: 'file',
    holdsCasOf: 'servers',
    help: 'CA certificates (PEM) to trust for rediss://, in addition to the well-known CAs. The file is read again when it changes.',
  },
  redisCert: {
    name: 'redis-cert',
    kind: 'file',
    help: 'Client certificate (PEM) for rediss://. It needs --redis-key. The file is read again when it changes.',
  },
  redisKey: { name: 'redis-key', kind: 'file', help: 'Private key (PEM) of --redis-cert.' },
  redisPrefix: brokerPassthroughTable.redisPrefix,
  replicaAddress: {
    name: 'replica-address',
    kind: 'url',
    protocols: ['ws:', 'wss:'],
    help: 'The URL at which the other replicas reach this one, for example wss://10.0.0.7:8443. Required with --redis-url.',
  },
  allowPlainReplicas: {
    name: 'allow-plain-replicas',
    kind: 'boolean',
    help: 'Allows ws:// between replicas on different machines. An attacker who can read that network sees the destinations of clients and can take over sessions, so use it only on an encrypted network.',
  },
  replicaKeyFile: {
    name: 'replica-key-file',
    kind: 'file',
    help: 'The secret keys by which replicas authenticate each other, one key of at least 16 characters per line. The first key signs, and all keys are accepted. Required with --redis-url. The file is read again when it changes.',
  },
  replicaCa: {
    name: 'replica-ca',
    kind: 'file',
    holdsCasOf: 'servers',
    help: 'CA certificates (PEM) to trust for the wss:// addresses of the other replicas, in addition to the well-known CAs.',
  },
  replicaServerName: {
    name: 'replica-server-name',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The name in the certificates of the other replicas. Default: the host of their addresses.',
  },
} as const satisfies OptionsTable;

/** All options of a broker. `culvert broker` adds the options of a bridge. */
export const allBrokerTable = {
  ...brokerTable,
  ...accessTable,
  ...replicaTable,
  ...tlsTable,
  ...processTable,
} as const;

type BrokerValues = OptionsOf<typeof allBrokerTable>;

/** Rows that `startBroker` gets in another form. */
const derivedKeys = [
  ...(['kubernetes', 'kubeconfig'] as const),
  ...(['tlsMinVersion', 'cipherSuites', 'logLevel'] as const),
] as const;

/**
 * The options of `startBroker`: a property for each row of `allBrokerTable`. `hub` and `tlsPolicy`
 * replace the rows that they are made of. Paths name files that can be read at the start and may
 * change later.
 */
export interface BrokerOptions extends Omit<BrokerValues, (typeof derivedKeys)[number]> {
  /**
   * The hub's API server checks tokens of agents and says which clusters are accepted. Undefined:
   * the broker does not ask it.
   */
  readonly hub: HubAccess | undefined;
  /** Versions and cipher suites for `tlsCert`. */
  readonly tlsPolicy: TlsPolicy;
  /** Proxies on the way to the hub's API server. */
  readonly proxies: ProxyEnvironment;
}

export function brokerOptions(values: BrokerValues, env: Env): BrokerOptions {
  return Object.freeze({
    ...omitOptions(pickOptions(allBrokerTable, values), derivedKeys),
    maxConnections: Math.min(values.maxConnections, connectionShare(1)),
    hub: hubAccess(values),
    tlsPolicy: tlsPolicyOf(values),
    proxies: readProxyEnvironment(env),
  });
}

function hubAccess({ kubernetes, kubeconfig }: BrokerValues): HubAccess | undefined {
  if (kubeconfig !== undefined) return { from: 'kubeconfig', path: kubeconfig };
  return kubernetes ? { from: 'pod' } : undefined;
}

function checkRedisTls(draft: OptionsDraft<typeof allBrokerTable>): void {
  const { values, given, label, problem } = draft;
  checkTogether(draft, 'redisCert', 'redisKey');
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

/** Reports options of a broker that do not fit together. */
export function checkBroker(draft: OptionsDraft<typeof allBrokerTable>): void {
  const { values, given, label, problem, warn } = draft;
  const { maxConnections = 0 } = values;
  const possible = connectionShare(1);
  if (maxConnections > possible) {
    warn(
      `${label('maxConnections')}=${maxConnections} is more than the open file limit allows, ${possible} are; raise the limit (ulimit -n)`,
    );
  }
  checkTogether(draft, 'tlsCert', 'tlsKey');
  if (given('agentCaCluster') && !given('agentCa'))
    problem(`${label('agentCaCluster')} is for ${label('agentCa')}, which is not given`);
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
  if (values.hubAuthorization === true && !given('kubernetes') && !given('kubeconfig')) {
    problem(`${label('hubAuthorization')} needs --kubernetes or --kubeconfig`);
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
      `${label('listen')}=${address} can be reached from other machines but no client is asked for credentials, ` +
        'give --agent-ca, --kubernetes or --token-public-key (culvert token keygen makes a key), or listen on 127.0.0.1',
    );
  }
}
