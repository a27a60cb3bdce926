import {
  type BrokerLinkOptions,
  brokerLinkOptions,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import { processTable, type ProgramOptions } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import { startStatusServer } from '../base/server/status-server.ts';
import type { Env, OptionsTable } from '../base/options/option-table.ts';
import type { HostPort } from '../base/net/host-port.ts';
import { readProxyEnvironment } from '../base/net/proxy-environment.ts';
import type { BridgeFrontOptions } from '../konnectivity-bridge/options.ts';
import {
  bridgeFrontOptions,
  bridgeFrontTable,
  checkBridgeFront,
} from '../konnectivity-bridge/options-table.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { runUntilStopped, together } from './run-until-stopped.ts';

const statusTable = {
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'Serves /healthz, /readyz (the broker can be reached) and /metrics over plain HTTP, to everybody who can reach it; nowhere unless given.',
  },
} as const satisfies OptionsTable;

const allTable = {
  ...bridgeFrontTable,
  ...brokerLinkTable,
  ...statusTable,
  ...processTable,
} as const;

/** A bridge alone: its front, and how it reaches the broker. */
export interface BridgeProgramOptions {
  readonly front: BridgeFrontOptions;
  readonly link: BrokerLinkOptions;
  readonly statusListen: HostPort | undefined;
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
  const link = brokerLinkOptions(values, readProxyEnvironment(env));
  const { statusListen, drainTimeoutMs, logLevel } = values;
  return {
    options: Object.freeze({ front, link, statusListen, drainTimeoutMs }),
    logLevel,
    warnings,
  };
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
    { title: 'How it is', table: statusTable },
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
    const { exposeFiles } = await import('../base/metrics/file-metrics.ts');
    const { LastGoodCa } = await import('../base/tls/last-good-ca.ts');
    const { Metrics } = await import('../base/metrics/metrics.ts');
    const { createRemoteDialer, watchBroker } = await import('../dialer/node/remote-dialer.ts');
    const { startBridge } = await import('../konnectivity-bridge/bridge.ts');
    return await runUntilStopped(
      async (parts) => {
        const metrics = new Metrics();
        const ofSessions = metrics.group('culvert_session');
        const ca = new LastGoodCa('--ca-file', log);
        const link = { ...options.link, log, metrics: ofSessions, ca };
        const reach = parts.use(watchBroker(link, options.front.cluster));
        const dialer = parts.use(createRemoteDialer(link, reach));
        const ofBridge = metrics.group('culvert_bridge');
        exposeFiles(ofBridge, [ca]);
        const bridge = parts.use(
          await startBridge(options.front, { dialer, log, metrics: ofBridge }),
        );
        if (options.statusListen !== undefined) {
          const render = async () => {
            await ca.look();
            return await metrics.render();
          };
          const source = { unready: () => reach.unready, metrics: render };
          parts.use(await startStatusServer(options.statusListen, source, log));
        }
        return together(bridge, dialer);
      },
      { ...options, signals, log },
    );
  },
};
