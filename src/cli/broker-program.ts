import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Metrics } from '../base/metrics/metrics.ts';
import { type RunningBroker, startBroker } from '../broker/node/broker.ts';
import { startBridge } from '../konnectivity-bridge/bridge.ts';
import { bridgeMetrics, packetCounts } from './bridge-metrics.ts';
import type { BrokerProgramOptions } from './broker-options.ts';
import {
  openAgentsApi,
  serviceAccountAuthenticator,
  startLocalAgents,
} from './konnectivity-agents.ts';
import { type Drainable, together } from './run-until-stopped.ts';

export interface BrokerProgramParts {
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Gets everything that ends with the program. */
  readonly stack: AsyncDisposableStack;
  /**
   * The listener for standard agents takes culvert's agents too, with a certificate of `agentCa` or
   * the token of the ServiceAccount, and the broker opens no port (default: false). The API server of the options then only reviews
   * tokens of standard agents: it is not a hub that knows clusters.
   */
  readonly isOnePortForAgents?: boolean;
}

/** A broker, with the programs beside it in one process. */
export interface BrokerProgram extends Drainable {
  readonly broker: RunningBroker;
  /** Agents that are connected, culvert's and standard ones. */
  readonly agentCount: number;
}

type StartedOptions = Pick<BrokerProgramOptions, 'options' | 'front' | 'agents'> &
  Partial<Pick<BrokerProgramOptions, 'gateway'>>;

/**
 * Starts a broker, and the bridge, the gateway and the listener for standard agents that its options
 * ask for.
 */
export async function startBrokerProgram(
  { options, front, agents, gateway }: StartedOptions,
  { metrics, log, stack, isOnePortForAgents = false }: BrokerProgramParts,
): Promise<BrokerProgram> {
  const api = agents && openAgentsApi(agents, options, log);
  if (api !== undefined) stack.adopt(api, (opened) => opened.close());
  // Without a credential to check, the broker would take every culvert agent.
  const authenticator =
    isOnePortForAgents && agents ? serviceAccountAuthenticator(agents, api) : undefined;
  const broker = stack.use(
    await startBroker(isOnePortForAgents ? { ...options, hub: undefined } : options, {
      log,
      metrics,
      onlyCluster: front?.cluster,
      hasNoPort: isOnePortForAgents,
      authenticator,
    }),
  );
  const isAuthenticating = options.agentCa !== undefined || authenticator !== undefined;
  const takesSockets = isOnePortForAgents && isAuthenticating;
  const packets = packetCounts(metrics);
  const fronts: Drainable[] = [];
  const standard =
    agents &&
    stack.use(
      await startLocalAgents(agents, {
        ...{ api, broker, metrics, packets, log, stack },
        acceptSocket: takesSockets ? broker.accept : undefined,
      }),
    );
  if (front !== undefined) {
    const { dialer, makeTokenDialer, rules } = broker;
    fronts.push(
      stack.use(
        await startBridge(front, {
          dialer,
          makeTokenDialer,
          rules,
          log,
          metrics: bridgeMetrics(metrics),
          packets,
        }),
      ),
    );
  }
  if (gateway !== undefined) {
    const { openGatewayHub } = await import('./gateway-hub.ts');
    const { startGatewayProgram } = await import('./gateway-program.ts');
    const { gatewayDialer: dialer, isKnownCluster, rules } = broker;
    const { hub: access, proxies } = options;
    const hub = access && stack.use(openGatewayHub(access, { proxies, clock: systemClock, log }));
    fronts.push(
      await startGatewayProgram(gateway, {
        ...{ dialer, hub, rules, isKnownCluster, metrics, log, stack },
      }),
    );
  }
  const clients = together(...fronts);
  return {
    broker,
    get agentCount() {
      return broker.agentCount + (standard?.agentCount ?? 0);
    },
    // Agents and remote dialers must learn of the drain at once. Dials in flight are still served.
    async drain(signal) {
      const served = clients.drain(signal);
      await Promise.all([served, standard?.drain(signal, served), broker.drain(signal, served)]);
    },
  };
}
