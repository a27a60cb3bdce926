import { hostname } from 'node:os';
import { connectionShare } from '../../base/server/open-file-limit.ts';
import { type OptionsDraft, omitOptions, pickOptions } from '../../base/options/read-options.ts';
import { processId, processTable } from '../../base/options/process-options.ts';
import type { OptionsTable, Env, OptionsOf } from '../../base/options/option-table.ts';
import { type ProxyEnvironment, readProxyEnvironment } from '../../base/net/proxy-environment.ts';
import type { TlsPolicy } from '../../base/tls/tls-policy.ts';
import { formatHostPort, isLoopback } from '../../base/net/host-port.ts';
import { checkTogether } from '../../base/options/check-together.ts';
import { brokerPassthroughTable } from '../../base/options/passthrough-options.ts';
import { tlsPolicyOf, tlsTable } from '../../base/options/tls-options.ts';

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
  redisPrefix: brokerPassthroughTable.redisPrefix,
  replicaAddress: {
    name: 'replica-address',
    kind: 'url',
    protocols: ['ws:', 'wss:'],
    help: 'Where the other replicas reach this one, such as wss://10.0.0.7:8443. Needed with --redis-url.',
  },
  allowPlainReplicas: {
    name: 'allow-plain-replicas',
    kind: 'boolean',
    help: 'Lets replicas reach each other by ws:// also beyond loopback. For networks that are encrypted themselves, because an attacker who can read the network sees which clusters clients talk to, and can take over sessions.',
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

/** All options of a broker. `culvert broker` adds the options of a bridge. */
export const allBrokerTable = {
  ...brokerTable,
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
      `${label('listen')}=${address} can be reached from other machines but no client is asked for credentials, ` +
        'give --agent-ca, --kubernetes or --token-public-key (culvert token keygen makes a key), or listen on 127.0.0.1',
    );
  }
}
