import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { BrokerLinkOptions } from '../../base/options/broker-link-options.ts';
import type { ServerRoute } from '../../base/net/server-route.ts';
import { version } from '../../base/version.ts';
import { TunnelError, type TunnelErrorCode } from '../../tunnel/errors.ts';
import { ConnectError } from '../../tunnel/connect-error.ts';
import type { LinkConnector } from '../../tunnel/link-connector.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { WebSocketConnector } from '../../websocket/websocket-connector.ts';
import { PooledDialer } from '../pooled-dialer.ts';
import { BrokerReach } from './broker-reach.ts';
import type { SessionMetrics } from '../session-metrics.ts';

export interface RemoteDialerOptions extends BrokerLinkOptions {
  readonly log: Logger;
  readonly metrics?: SessionMetrics;
  /** Reads `caFile`. A caller that reports stale files passes its own (default: a new one). */
  readonly ca?: LastGoodCa;
  /** Makes the links (default: over WebSockets). */
  readonly connector?: LinkConnector<ServerRoute>;
}

const software = `culvert-bridge/${version}`;

/** The cluster that a readiness check asks for, if the dialer has no cluster of its own. */
const anyCluster = 'readiness';

/**
 * Watches whether this dialer's broker can be reached; for readiness.
 *
 * @param cluster the cluster that is dialed, if there is only one
 */
export function watchBroker(options: RemoteDialerOptions, cluster = anyCluster): BrokerReach {
  const { log } = options;
  const link = withDefaults(options);
  return new BrokerReach({
    connect: (signal) => connectToBroker(link, cluster, signal),
    clock: systemClock,
    log,
  });
}

/**
 * A dialer whose broker is another process. It has one WebSocket for each cluster that is dialed.
 *
 * @param reach gets the results of attempts to connect
 */
export function createRemoteDialer(
  options: RemoteDialerOptions,
  reach?: BrokerReach,
): PooledDialer {
  const { log, metrics } = options;
  const own = withDefaults(options);
  const connect = async (cluster: string, signal: AbortSignal): Promise<AttachableLink> => {
    try {
      const link = await connectToBroker(own, cluster, signal);
      reach?.settled(undefined);
      return link;
    } catch (thrown) {
      // An abort by this end says nothing about the broker.
      if (!signal.aborted) reach?.settled(TunnelError.from(thrown, 'link_lost'));
      throw thrown;
    }
  };
  return new PooledDialer({
    connect,
    clock: systemClock,
    log,
    software,
    zone: options.zone,
    ...(metrics && { metrics }),
  });
}

type LinkOptions = RemoteDialerOptions & Required<Pick<RemoteDialerOptions, 'ca' | 'connector'>>;

function withDefaults(options: RemoteDialerOptions): LinkOptions {
  return {
    ...options,
    ca: options.ca ?? new LastGoodCa('--ca-file', options.log),
    connector: options.connector ?? new WebSocketConnector(),
  };
}

async function connectToBroker(
  options: LinkOptions,
  cluster: string,
  signal: AbortSignal,
): Promise<AttachableLink> {
  const { brokerUrl, ca, caFile, connector, serverName, hostHeader, proxies } = options;
  const base = brokerUrl.href.replace(/\/?$/, '/');
  const url = new URL(`v1/clusters/${encodeURIComponent(cluster)}/session`, base);
  const token = await options.readToken();
  const forGateways = await options.readHeaders?.();
  try {
    const route: ServerRoute = {
      url,
      headers: {
        ...forGateways,
        ...(token && { Authorization: `Bearer ${token.reveal()}` }),
      },
      userAgent: software,
      ca: caFile === undefined ? undefined : await ca.readFile(caFile),
      serverName,
      hostHeader,
      proxies,
    };
    return await connector.connect(route, signal);
  } catch (thrown) {
    const sentence = `no connection to the broker: ${describeError(thrown)}`;
    throw new TunnelError(codeOf(thrown), sentence, { cause: thrown });
  }
}

/**
 * Only the broker's own answer is final. A proxy or firewall on the way may answer something else
 * soon.
 */
function codeOf(thrown: unknown): TunnelErrorCode {
  if (!(thrown instanceof ConnectError)) return 'link_lost';
  const { status, brokerCode } = thrown;
  if (status === 429 || status === 503) return 'overloaded';
  if (brokerCode === 'unauthorized' || brokerCode === 'forbidden') return brokerCode;
  if (brokerCode === 'forbidden_cluster') return 'forbidden';
  // No cluster can have this name, so no agent can be connected.
  return brokerCode !== undefined && status === 400 ? 'no_agent' : 'link_lost';
}
