import { processTable } from './options-common.ts';
import type { OptionsTable } from './options-table.ts';
import { tlsChoiceTable } from './tls-choice.ts';

/** Options of a broker that whoever starts it for somebody else passes on: who only passes them on checks them by these rows. */
export const brokerOperatorTable = {
  acceptRate: {
    name: 'accept-rate',
    kind: 'integer',
    min: 1,
    default: '200',
    help: 'New connections accepted per second; above it they are told when to come back.',
  },
  ...tlsChoiceTable,
  ...processTable,
} as const satisfies OptionsTable;

/** The same of an agent. */
export const agentOperatorTable = {
  allow: {
    name: 'allow',
    kind: 'destination',
    repeatable: true,
    help: 'A destination that may be reached through this agent: `host:port`, `*.suffix:port`, `host:*` or `CIDR:port`. Without it only --kube-apiserver.',
  },
  kubeApiserver: {
    name: 'kube-apiserver',
    kind: 'hostMaybePort',
    default: 'kubernetes.default.svc',
    help: 'What the name of the cluster stands for as a destination. Without a port, the one asked for is used.',
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
