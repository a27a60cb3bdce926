import type { Logger } from '../base/logger.ts';
import {
  type BrokerLinkOptions,
  brokerLinkOptions,
  brokerLinkTable,
  checkBrokerLink,
  processTable,
  type ProgramOptions,
} from '../base/options-common.ts';
import { readOptions } from '../base/options.ts';
import type { Env } from '../base/options-table.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { BridgeFrontOptions } from '../konnectivity-bridge/options.ts';
import {
  bridgeFrontOptions,
  bridgeFrontTable,
  checkBridgeFront,
} from '../konnectivity-bridge/options-table.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { type RunningProgram, runUntilStopped, together } from './run-until-stopped.ts';

const allTable = { ...bridgeFrontTable, ...brokerLinkTable, ...processTable } as const;

/** A bridge alone: its front, and how it reaches the broker. */
export interface BridgeProgramOptions {
  readonly front: BridgeFrontOptions;
  readonly link: BrokerLinkOptions;
  readonly drainTimeoutMs: number;
}

/**
 * Reads what `culvert bridge` is given.
 *
 * @throws ConfigError with every problem there is
 */
export function readBridgeOptions(
  argv: readonly string[],
  env: Env,
): ProgramOptions<BridgeProgramOptions> {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    checkBrokerLink(draft);
    checkBridgeFront(draft);
    if (!draft.given('konnectivityListen') && !draft.given('konnectivityUds')) {
      draft.problem(
        'nothing to listen on, give --konnectivity-listen (127.0.0.1:8090) or --konnectivity-uds',
      );
    }
  });
  const front = bridgeFrontOptions(values)!;
  const { drainTimeoutMs, logLevel } = values;
  return {
    options: Object.freeze({ front, link: brokerLinkOptions(values, env), drainTimeoutMs }),
    logLevel,
    warnings,
  };
}

/** Starts the front for konnectivity clients and logs where it listens. */
export async function startFront(
  front: BridgeFrontOptions,
  dialer: Dialer,
  log: Logger,
): Promise<RunningProgram & { readonly addresses: readonly string[] }> {
  const { startBridge } = await import('../konnectivity-bridge/bridge.ts');
  const bridge = await startBridge(front, { dialer, log });
  for (const address of bridge.addresses) log.info('konnectivity front listens', { address });
  return bridge;
}

export const bridgeCommand: Command = {
  name: 'bridge',
  summary: 'serve konnectivity clients near them, through a broker elsewhere',
  about:
    'Serves konnectivity clients as `culvert broker --konnectivity-listen` does, but from a process of its own: near its ' +
    'clients, and connecting outbound to a broker that may be far away.',
  groups: [
    { title: 'Konnectivity clients', table: bridgeFrontTable },
    { title: 'The broker', table: brokerLinkTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      says: 'a Unix socket for the egress selector of a kube-apiserver whose nodes are the cluster prod-1',
      line: 'culvert bridge --broker-url wss://broker.example.com --token-file token --konnectivity-uds /run/culvert/konnectivity.sock --cluster prod-1',
    },
    {
      says: 'plain gRPC on loopback, for a client on the same machine',
      line: 'culvert bridge --broker-url wss://broker.example.com --token-file token --konnectivity-listen 127.0.0.1:8090',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, ...read } = readBridgeOptions(argv, env);
    const log = await startProgramLog('bridge', read);
    const { createRemoteDialer } = await import('../dialer/node/remote-dialer.ts');
    await using dialer = createRemoteDialer({ ...options.link, log });
    const bridge = await startFront(options.front, dialer, log);
    const link = { drain: (signal: AbortSignal) => dialer.drain(signal), close: async () => {} };
    return await runUntilStopped(together(bridge, link), { ...options, signals, log });
  },
};
