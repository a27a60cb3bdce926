import type { Socket } from 'node:net';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Metrics } from '../base/metrics/metrics.ts';
import {
  AuthenticationError,
  AuthenticationUnavailableError,
  type Authenticator,
} from '../broker/authenticator.ts';
import type { RestKubeApi } from '../kube/client/rest-kube-api.ts';
import type { RunningBroker } from '../broker/node/broker.ts';
import type { LocalAgents } from '../broker/node/local-agents.ts';
import type { BrokerOptions } from '../broker/node/options.ts';
import type { PacketCounts } from '../konnectivity/packet-counts.ts';
import {
  type AgentIdentity,
  serviceAccountOfOneCluster,
} from '../konnectivity-agents/agent-authenticator.ts';
import {
  type RunningKonnectivityAgents,
  startKonnectivityAgents,
} from '../konnectivity-agents/konnectivity-agents.ts';
import { kubeTokenReview, openAgentsKubeApi } from '../konnectivity-agents/kube-token-review.ts';
import {
  defaultKonnectivityAgentsLimits,
  type KonnectivityAgentsOptions,
} from '../konnectivity-agents/options.ts';
import { ReviewLimit } from '../konnectivity-agents/review-limit.ts';
import { ServerLease } from '../konnectivity-agents/server-lease.ts';
import { StandardAgentError } from '../konnectivity-agents/standard-agent-error.ts';

interface Parts {
  readonly broker: RunningBroker;
  readonly metrics: Metrics;
  readonly packets: PacketCounts;
  readonly log: Logger;
  /** The API server of `openAgentsApi`. */
  readonly api: RestKubeApi | undefined;
  /** Takes connections of agents that do not speak gRPC, after their TLS handshake. */
  readonly acceptSocket?: ((socket: Socket) => void) | undefined;
  /** Gets what must be disposed of after the listener. */
  readonly stack: AsyncDisposableStack;
}

/** Opens the API server for tokens of agents and Leases of servers; undefined: it is not needed. */
export function openAgentsApi(
  { serviceAccount, serverLease }: KonnectivityAgentsOptions,
  { hub, proxies }: Pick<BrokerOptions, 'hub' | 'proxies'>,
  log: Logger,
): RestKubeApi | undefined {
  if (serviceAccount === undefined && serverLease === undefined) return undefined;
  const kubeconfig = hub?.from === 'kubeconfig' ? hub.path : undefined;
  return openAgentsKubeApi(kubeconfig, proxies, log);
}

/**
 * Authenticates culvert agents of one cluster by the token of a ServiceAccount, as the listener
 * authenticates standard agents. Undefined: the listener does not review tokens.
 */
export function serviceAccountAuthenticator(
  { cluster, serviceAccount, tls: { clientCaFile } }: KonnectivityAgentsOptions,
  api: RestKubeApi | undefined,
): Authenticator | undefined {
  if (cluster === undefined || serviceAccount === undefined) return undefined;
  if (api === undefined || clientCaFile !== undefined) return undefined;
  const limit = new ReviewLimit(defaultKonnectivityAgentsLimits);
  const review = kubeTokenReview(api);
  const authenticateAgent = serviceAccountOfOneCluster(cluster, serviceAccount, review, limit);
  return {
    async authenticate(headers, { address = '' }) {
      const value = headers.get('Authorization');
      const authorization = value === null ? [] : [value];
      try {
        return { kind: 'agent', ...(await authenticateAgent({ authorization, address })) };
      } catch (thrown) {
        if (!(thrown instanceof StandardAgentError)) throw thrown;
        throw thrown.code === 'unauthenticated'
          ? new AuthenticationError(thrown.message, { cause: thrown })
          : new AuthenticationUnavailableError(thrown.message, { cause: thrown });
      }
    },
  };
}

/**
 * Starts a listener for standard konnectivity agents beside a broker in the same process.
 *
 * @throws KonnectivityError `invalid_options`, `listen_failed`
 */
export async function startLocalAgents(
  options: KonnectivityAgentsOptions,
  { api, broker, metrics, packets, log, stack, acceptSocket }: Parts,
): Promise<RunningKonnectivityAgents> {
  const { localAgents } = broker;
  const { serverLease, serverId } = options;
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
