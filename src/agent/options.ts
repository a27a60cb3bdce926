import { hostname } from 'node:os';
import { asError } from '../base/error.ts';
import { type OptionsDraft, readOptions } from '../base/options.ts';
import {
  type BrokerLinkOptions,
  brokerLinkOptions,
  brokerLinkTable,
  checkBrokerLink,
  processId,
  processTable,
  type ProgramOptions,
} from '../base/options-common.ts';
import type { Env, OptionsTable } from '../base/options-table.ts';
import type { HostMaybePort } from '../base/options-values.ts';
import { readProxyEnvironment } from '../websocket/proxy-environment.ts';
import { DestinationPolicy } from './destination-policy.ts';

/** What `startAgent` is told. */
export interface AgentOptions extends BrokerLinkOptions {
  /** The cluster that this agent speaks for; a DNS label, as in its token. */
  readonly cluster: string;
  /** Names this process among the agents of the cluster; unique. */
  readonly agentId: string;
  /** Destinations that may be dialled besides `kubeApiserver`: `host:port`, `*.suffix:port`, `host:*`, `CIDR:port`. */
  readonly allow: readonly string[];
  /** What the cluster's own name stands for; without a port, the one that was asked for is used. */
  readonly kubeApiserver: HostMaybePort;
  /** How many tunnels to keep, each to another replica of the broker: 1 or 2. */
  readonly tunnels: number;
  /** How long a target may take to accept a connection, in milliseconds. */
  readonly dialTimeoutMs: number;
  /** How long streams may go on after a drain began, in milliseconds. */
  readonly drainTimeoutMs: number;
}

export const agentTable = {
  ...brokerLinkTable,
  cluster: {
    name: 'cluster',
    kind: 'dnsLabel',
    required: true,
    help: 'The cluster that this agent speaks for, as its token names it.',
  },
  agentId: {
    name: 'agent-id',
    kind: 'string',
    placeholder: 'ID',
    default: { says: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'Names this process among the agents of the cluster.',
  },
  allow: {
    name: 'allow',
    kind: 'string',
    placeholder: 'PATTERN',
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

/**
 * Reads what `culvert agent` is given.
 *
 * @throws ConfigError with every problem there is
 */
export function readAgentOptions(argv: readonly string[], env: Env): ProgramOptions<AgentOptions> {
  const { values, warnings } = readOptions(agentTable, argv, env, checkAgent);
  const {
    cluster,
    agentId,
    allow,
    kubeApiserver,
    dialTimeoutMs,
    tunnels,
    drainTimeoutMs,
    logLevel,
  } = values;
  const options: AgentOptions = Object.freeze({
    ...brokerLinkOptions(values, readProxyEnvironment(env)),
    cluster,
    agentId,
    allow,
    kubeApiserver,
    dialTimeoutMs,
    tunnels,
    drainTimeoutMs,
  });
  return { options, logLevel, warnings };
}

function checkAgent(draft: OptionsDraft<typeof agentTable>): void {
  checkBrokerLink(draft);
  const { cluster = '', allow = [], kubeApiserver = { host: '', port: undefined } } = draft.values;
  for (const pattern of allow) {
    try {
      // Made for what it says about the pattern; the agent makes its own.
      void new DestinationPolicy({ cluster, clusterAlias: '', kubeApiserver, allow: [pattern] });
    } catch (thrown) {
      draft.problem(`${draft.label('allow')}: ${asError(thrown).message}`);
    }
  }
}
