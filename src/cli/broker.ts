import type { Env } from '../base/options/option-table.ts';
import { type ProgramOptions, processTable } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import { tlsTable } from '../base/options/tls-options.ts';
import {
  allBrokerTable,
  type BrokerOptions,
  brokerOptions,
  brokerTable,
  checkBroker,
  replicaTable,
} from '../broker/node/options.ts';
import type { BridgeFrontOptions } from '../konnectivity-bridge/options.ts';
import {
  bridgeFrontOptions,
  bridgeFrontTable,
  checkBridgeFront,
} from '../konnectivity-bridge/options-table.ts';
import type { KonnectivityAgentsOptions } from '../konnectivity-agents/options.ts';
import {
  checkKonnectivityAgents,
  konnectivityAgentsOptions,
  konnectivityAgentsTable,
} from '../konnectivity-agents/options-table.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { type Drainable, runUntilStopped, together } from './run-until-stopped.ts';

const allTable = { ...allBrokerTable, ...bridgeFrontTable, ...konnectivityAgentsTable } as const;

/** Options of a broker, and of the other programs in the same process that are enabled. */
export interface BrokerProgramOptions extends ProgramOptions<BrokerOptions> {
  readonly front: BridgeFrontOptions | undefined;
  readonly agents: KonnectivityAgentsOptions | undefined;
}

/**
 * Reads the options of `culvert broker`. This is the only program that combines two programs that
 * do not import each other.
 *
 * @throws ConfigError with all problems together
 */
export function readBrokerOptions(argv: readonly string[], env: Env): BrokerProgramOptions {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    checkBroker(draft);
    checkBridgeFront(draft);
    const { given } = draft;
    const hasApiServer = given('kubernetes') || given('kubeconfig');
    checkKonnectivityAgents(draft, {
      hasApiServer,
      hasTokens: hasApiServer || given('tokenPublicKey'),
      hasCluster: given('cluster'),
    });
  });
  const options = brokerOptions(values, env);
  const front = bridgeFrontOptions(values, options.tlsPolicy);
  const agents = konnectivityAgentsOptions(values, options.tlsPolicy);
  return { options, front, agents, logLevel: values.logLevel, warnings };
}

export const brokerCommand: Command = {
  name: 'broker',
  summary: 'run a broker: accept tunnels of agents, and serve konnectivity clients',
  about:
    'A broker runs on the hub. Agents connect to --listen over WebSockets, each for the cluster in which it runs. With ' +
    '--konnectivity-listen or --konnectivity-uds, the process also serves konnectivity clients, which reach a cluster by its name. ' +
    'With --konnectivity-agent-listen it also takes standard konnectivity agents.',
  groups: [
    { title: 'Agents and dialers', table: brokerTable },
    { title: 'Several replicas', table: replicaTable },
    { title: 'Konnectivity clients', table: bridgeFrontTable },
    { title: 'Standard konnectivity agents', table: konnectivityAgentsTable },
    { title: 'TLS', table: tlsTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      title: 'a broker behind an ingress that terminates TLS, with tokens from `culvert token`',
      line: 'culvert broker --listen 0.0.0.0:8080 --token-public-key culvert-token.key.pub',
    },
    {
      title: 'a broker that also serves konnectivity clients with a certificate of ca.crt',
      line: 'culvert broker --listen 0.0.0.0:8080 --token-public-key culvert-token.key.pub --konnectivity-listen 0.0.0.0:8090 --konnectivity-tls-cert tls.crt --konnectivity-tls-key tls.key --konnectivity-client-ca ca.crt',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, front, agents, ...read } = readBrokerOptions(argv, env);
    const log = await startProgramLog('broker', read);
    const { Metrics } = await import('../base/metrics/metrics.ts');
    const { startBroker } = await import('../broker/node/broker.ts');
    const { bridgeMetrics } = await import('./bridge-metrics.ts');
    const { startBridge } = await import('../konnectivity-bridge/bridge.ts');
    return await runUntilStopped(
      async (parts) => {
        const metrics = new Metrics();
        const broker = parts.use(
          await startBroker(options, { log, metrics, onlyCluster: front?.cluster }),
        );
        log.info('broker listens', { url: broker.url });
        const programs: Drainable[] = [];
        if (agents !== undefined) {
          const { startLocalAgents } = await import('./konnectivity-agents.ts');
          const started = await startLocalAgents(agents, {
            options,
            broker,
            metrics,
            log,
            stack: parts,
          });
          programs.push(parts.use(started));
        }
        if (front !== undefined) {
          const { dialer } = broker;
          const started = await startBridge(front, {
            dialer,
            log,
            metrics: bridgeMetrics(metrics),
          });
          programs.push(parts.use(started));
        }
        return together(...programs, broker);
      },
      { ...options, signals, log },
    );
  },
};
