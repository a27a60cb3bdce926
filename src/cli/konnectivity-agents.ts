import type { Socket } from 'node:net';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Metrics } from '../base/metrics/metrics.ts';
import type { RunningBroker } from '../broker/node/broker.ts';
import type { LocalAgents } from '../broker/node/local-agents.ts';
import type { BrokerOptions } from '../broker/node/options.ts';
import type { PacketCounts } from '../konnectivity/packet-counts.ts';
import type { AgentIdentity } from '../konnectivity-agents/agent-authenticator.ts';
import {
  type RunningKonnectivityAgents,
  startKonnectivityAgents,
} from '../konnectivity-agents/konnectivity-agents.ts';
import { kubeTokenReview, openAgentsKubeApi } from '../konnectivity-agents/kube-token-review.ts';
import type { KonnectivityAgentsOptions } from '../konnectivity-agents/options.ts';
import { ServerLease } from '../konnectivity-agents/server-lease.ts';
import { StandardAgentError } from '../konnectivity-agents/standard-agent-error.ts';

interface Parts {
  /** Those of the broker. */
  readonly options: BrokerOptions;
  readonly broker: RunningBroker;
  readonly metrics: Metrics;
  readonly packets: PacketCounts;
  readonly log: Logger;
  /** Takes connections of agents that do not speak gRPC, after their TLS handshake. */
  readonly acceptSocket?: ((socket: Socket) => void) | undefined;
  /** Gets what must be disposed of after the listener. */
  readonly stack: AsyncDisposableStack;
}

/**
 * Starts a listener for standard konnectivity agents beside a broker in the same process.
 *
 * @throws KonnectivityError `invalid_options`, `listen_failed`
 */
export async function startLocalAgents(
  options: KonnectivityAgentsOptions,
  { options: { hub, proxies }, broker, metrics, packets, log, stack, acceptSocket }: Parts,
): Promise<RunningKonnectivityAgents> {
  const { localAgents } = broker;
  const kubeconfig = hub?.from === 'kubeconfig' ? hub.path : undefined;
  const { serviceAccount, serverLease, serverId } = options;
  const api =
    serviceAccount === undefined && serverLease === undefined
      ? undefined
      : stack.adopt(openAgentsKubeApi(kubeconfig, proxies, log), (opened) => opened.close());
  const running = await startKonnectivityAgents(options, {
    connect: (agent) => localAgents.connect(agent),
    acceptSocket,
    reviewToken: api && kubeTokenReview(api),
    clusterOfToken: (token, address) => identityOf(localAgents, token, address),
    metrics: metrics.group('culvert_konnectivity'),
    packets,
    log,
  });
  if (api !== undefined && serverLease !== undefined) {
    stack.use(new ServerLease(serverLease, { api, serverId, clock: systemClock, log }));
  }
  return running;
}

async function identityOf(
  agents: LocalAgents,
  token: string,
  address: string,
): Promise<AgentIdentity> {
  try {
    const { cluster, registered } = await agents.authenticate(token, address);
    return registered === true ? { cluster, registered } : { cluster };
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
    const isRefusal = thrown.name === 'AuthenticationError';
    const code = isRefusal ? 'unauthenticated' : 'authentication_unavailable';
    throw new StandardAgentError(code, thrown.message, { cause: thrown });
  }
}
