import {
  type BrokerLinkOptions,
  brokerAccess,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { type ProgramOptions, processTable } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import { formatHostPort, isLoopback } from '../base/net/host-port.ts';

export const connectTargetTable = {
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    required: true,
    positional: true,
    help: 'The cluster of the target.',
  },
  target: {
    name: 'target',
    kind: 'hostPort',
    required: true,
    positional: true,
    help: 'The target as the agent of the cluster knows it, such as db.shop.svc:5432. The agent needs --allow for it.',
  },
} as const satisfies OptionsTable;

export const connectListenTable = {
  listen: {
    name: 'listen',
    kind: 'hostPort',
    required: true,
    help: 'The address at which local programs connect. Port 0 takes any free port.',
  },
  allowRemote: {
    name: 'allow-remote',
    kind: 'boolean',
    help: 'Allows an address of --listen that other machines can reach. No client is asked for credentials there.',
  },
  maxConnections: {
    name: 'max-connections',
    kind: 'integer',
    min: 1,
    default: '256',
    help: 'The most connections at a time. Further connections are closed.',
  },
} as const satisfies OptionsTable;

export const connectProcessTable = {
  drainTimeoutMs: { ...processTable.drainTimeoutMs, default: '5s' },
  logLevel: processTable.logLevel,
} as const satisfies OptionsTable;

const allTable = {
  ...connectTargetTable,
  ...connectListenTable,
  ...brokerLinkTable,
  ...connectProcessTable,
} as const;

export interface ConnectOptions extends Pick<
  OptionsOf<typeof allTable>,
  'cluster' | 'target' | 'listen' | 'maxConnections' | 'drainTimeoutMs'
> {
  readonly link: BrokerLinkOptions;
}

/**
 * Reads the options of `culvert connect`.
 *
 * @throws ConfigError with all problems together
 */
export function readConnectOptions(
  argv: readonly string[],
  env: Env,
): ProgramOptions<ConnectOptions> {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    checkBrokerLink(draft);
    const { listen, allowRemote, target } = draft.values;
    if (target?.port === 0) draft.problem(`${draft.label('target')} needs a port above 0`);
    if (listen === undefined || isLoopback(listen.host) || allowRemote === true) return;
    draft.problem(
      `${draft.label('listen')}=${formatHostPort(listen)} can be reached from other machines but no client is asked for credentials, ` +
        'listen on 127.0.0.1, or add --allow-remote',
    );
  });
  const { cluster, target, listen, maxConnections, drainTimeoutMs, logLevel } = values;
  const link = { brokerUrl: values.brokerUrl, ...brokerAccess(values, env) };
  const options = { cluster, target, listen, maxConnections, drainTimeoutMs, link };
  return { options: Object.freeze(options), logLevel, warnings };
}
