import { processTable } from './process-options.ts';
import { connectionShare } from '../server/open-file-limit.ts';
import { TrustedProxies } from '../server/trusted-proxies.ts';
import type { OptionsTable } from './option-table.ts';
import { tlsTable } from './tls-options.ts';

/**
 * The share of the process's file descriptors for connections of agents and dialers. Konnectivity
 * clients have a share of their own.
 */
const brokerShare = 1 / 2;

/**
 * Broker options that the addon manager passes to the brokers it deploys. The addon manager
 * validates them with the same definitions.
 */
export const brokerPassthroughTable = {
  acceptRate: {
    name: 'accept-rate',
    kind: 'integer',
    min: 1,
    default: '200',
    help: 'Connections with a valid credential that are accepted per second. The broker tells the others when to retry.',
  },
  maxConnections: {
    name: 'max-connections',
    kind: 'integer',
    min: 1,
    default: {
      help: 'half of the open files that the process may have',
      make: () => String(connectionShare(brokerShare)),
    },
    help: 'The most connections to --listen at a time, of agents and dialers together. A number above the open file limit is reduced, with a warning.',
  },
  maxTunnelsPerCluster: {
    name: 'max-tunnels-per-cluster',
    kind: 'integer',
    min: 1,
    default: '64',
    help: 'The most tunnels from the agents of one cluster to this process. Each agent has one tunnel, or two while a new tunnel replaces the old one.',
  },
  trustedProxies: {
    name: 'trusted-proxies',
    kind: 'parsed',
    parse: (text) => TrustedProxies.parse(text),
    placeholder: 'CIDRS',
    help: 'Addresses and networks of load balancers and ingresses in front of --listen, separated by commas (10.0.0.0/8,fd00::/8). The limit per address does not apply to them. It applies to their clients, which X-Forwarded-For names.',
  },
  redisPrefix: {
    name: 'redis-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    default: 'culvert:',
    help: 'The prefix of every key in Redis, so that several deployments can share one Redis.',
  },
  ...tlsTable,
  ...processTable,
} as const satisfies OptionsTable;

/**
 * Agent options that the addon manager passes to the agents it deploys. The addon manager validates
 * them with the same definitions.
 */
export const agentPassthroughTable = {
  allow: {
    name: 'allow',
    kind: 'destination',
    repeatable: true,
    help: 'A destination that clients may reach through this agent, in addition to --kube-apiserver: `host:port`, `*.suffix:port`, `host:*` or `CIDR:port`. Loopback, link-local, metadata and other reserved addresses must be listed as addresses, even if a listed name resolves to them.',
  },
  kubeApiserver: {
    name: 'kube-apiserver',
    kind: 'hostWithOptionalPort',
    default: 'kubernetes.default.svc',
    help: 'The destination that the name of the cluster leads to. Without a port, the port that the client asked for is used.',
  },
  dialTimeoutMs: {
    name: 'dial-timeout',
    kind: 'durationMs',
    min: 1,
    default: '5s',
    help: 'How long a destination may take to accept a connection.',
  },
  tunnels: {
    name: 'tunnels',
    kind: 'integer',
    min: 1,
    max: 2,
    default: '2',
    help: 'The number of tunnels, each to a different replica of the broker. With two, the loss of one replica does not interrupt streams.',
  },
  ...processTable,
} as const satisfies OptionsTable;
