import { processTable } from './process-options.ts';
import { connectionShare } from '../server/open-file-limit.ts';
import type { OptionsTable } from './option-table.ts';
import { tlsTable } from './tls-options.ts';
import { TrustedProxies } from '../server/trusted-proxies.ts';

/** The part of a process's file descriptors for connections of agents and dialers. Konnectivity clients have a part of their own. */
const brokerShare = 1 / 2;

/** Options of a broker that the addon manager passes to the brokers it deploys, after it has checked them by these rows. */
export const brokerPassthroughTable = {
  acceptRate: {
    name: 'accept-rate',
    kind: 'integer',
    min: 1,
    default: '200',
    help: 'Connections with a good credential that are accepted per second; the others are told when to come back.',
  },
  maxConnections: {
    name: 'max-connections',
    kind: 'integer',
    min: 1,
    default: {
      help: 'half of the open files that the process may have',
      make: () => String(connectionShare(brokerShare)),
    },
    help: 'Connections to --listen at a time, agents and dialers together. What the open file limit does not allow is cut down, with a warning.',
  },
  maxTunnelsPerCluster: {
    name: 'max-tunnels-per-cluster',
    kind: 'integer',
    min: 1,
    default: '64',
    help: 'Tunnels that the agents of one cluster may have to this process. Each agent has one, or two while one takes the place of the other.',
  },
  trustedProxies: {
    name: 'trusted-proxies',
    kind: 'parsed',
    parse: (text) => TrustedProxies.parse(text),
    placeholder: 'CIDRS',
    help: 'Addresses and networks of load balancers and ingresses in front of --listen, with commas between them (10.0.0.0/8,fd00::/8). They have no limit per address, and X-Forwarded-For names their clients, who have one each.',
  },
  redisPrefix: {
    name: 'redis-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    default: 'culvert:',
    help: 'Starts every key in Redis, so that several deployments can share one.',
  },
  ...tlsTable,
  ...processTable,
} as const satisfies OptionsTable;

/** Options of an agent that the addon manager passes to the agents it deploys, after it has checked them by these rows. */
export const agentPassthroughTable = {
  allow: {
    name: 'allow',
    kind: 'destination',
    repeatable: true,
    help: 'A destination that may be reached through this agent: `host:port`, `*.suffix:port`, `host:*` or `CIDR:port`. Without it only --kube-apiserver. Loopback, link-local, metadata and other reserved addresses must be listed themselves, also for names that resolve to them.',
  },
  kubeApiserver: {
    name: 'kube-apiserver',
    kind: 'hostWithOptionalPort',
    default: 'kubernetes.default.svc',
    help: 'The address that the name of the cluster means as a destination. Without a port, the port of the client is used.',
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
    help: 'Tunnels to keep, each to another replica of the broker, so that losing one replica is not noticed.',
  },
  ...processTable,
} as const satisfies OptionsTable;
