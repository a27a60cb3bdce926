import { policyFileOption } from '../access/options-table.ts';
import {
  type BrokerLinkOptions,
  brokerAccess,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { type ProgramOptions, processTable } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import type { BridgeFrontOptions } from './options.ts';
import { bridgeFrontOptions, bridgeFrontTable, checkBridgeFront } from './options-table.ts';

export const bridgeStatusTable = {
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'The address of /healthz, /readyz (the broker can be reached) and /metrics, over plain HTTP and without credentials. Default: none.',
  },
} as const satisfies OptionsTable;

export const bridgeAccessTable = {
  policyFile: policyFileOption,
} as const satisfies OptionsTable;

const allTable = {
  ...bridgeFrontTable,
  ...bridgeAccessTable,
  ...brokerLinkTable,
  ...bridgeStatusTable,
  ...processTable,
} as const;

/** A bridge in a process of its own: its front, and how it reaches the broker. */
export interface BridgeProgramOptions extends Pick<
  OptionsOf<typeof allTable>,
  'statusListen' | 'drainTimeoutMs' | 'policyFile'
> {
  readonly front: BridgeFrontOptions;
  readonly link: BrokerLinkOptions;
}

/**
 * Reads the options of `culvert bridge`.
 *
 * @throws ConfigError with all problems together
 */
export function readBridgeOptions(
  argv: readonly string[],
  env: Env,
): ProgramOptions<BridgeProgramOptions> {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    checkBrokerLink(draft);
    checkBridgeFront(draft);
    const listeners = ['konnectivityListen', 'konnectivityUds', 'socks5Listen'] as const;
    if (!listeners.some(draft.given)) {
      draft.problem(
        'nothing to listen on, give --konnectivity-listen (127.0.0.1:8090), --konnectivity-uds or --socks5-listen',
      );
    }
  });
  const front = bridgeFrontOptions(values)!;
  const link = { brokerUrl: values.brokerUrl, ...brokerAccess(values, env) };
  const { statusListen, drainTimeoutMs, policyFile, logLevel } = values;
  const options = Object.freeze({ front, link, statusListen, drainTimeoutMs, policyFile });
  return { options, logLevel, warnings };
}
