import { systemClock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { LastGoodCa } from '../../base/last-good-ca.ts';
import type { Logger } from '../../base/logger.ts';
import type { BrokerLinkOptions } from '../../base/options-common.ts';
import { version } from '../../base/version.ts';
import { TunnelError, type TunnelErrorCode } from '../../tunnel/errors.ts';
import { connectWebSocket, HandshakeError } from '../../websocket/connect.ts';
import type { WebSocketLink } from '../../websocket/websocket-link.ts';
import { PooledDialer } from '../pooled-dialer.ts';
import type { SessionMetrics } from '../session-metrics.ts';

export interface RemoteDialerOptions extends BrokerLinkOptions {
  readonly log: Logger;
  readonly metrics?: SessionMetrics;
  /** Reads `caFile`, for who asks how that is (default: one of its own). */
  readonly ca?: LastGoodCa;
}

const software = `culvert-bridge/${version}`;

/** A dialer whose broker is somewhere else: one WebSocket for each cluster that is dialled. */
export function createRemoteDialer(options: RemoteDialerOptions): PooledDialer {
  const { log, metrics, ca = new LastGoodCa('--ca-file', log) } = options;
  return new PooledDialer({
    connect: (cluster, signal) => connectToBroker({ ...options, ca }, cluster, signal),
    clock: systemClock,
    log,
    software,
    ...(metrics && { metrics }),
  });
}

async function connectToBroker(
  options: RemoteDialerOptions & { readonly ca: LastGoodCa },
  cluster: string,
  signal: AbortSignal,
): Promise<WebSocketLink> {
  const { brokerUrl, ca, caFile, serverName, hostHeader, proxies } = options;
  const base = brokerUrl.href.replace(/\/?$/, '/');
  const url = new URL(`v1/clusters/${encodeURIComponent(cluster)}/session`, base);
  const token = await options.readToken();
  const forGateways = await options.readHeaders?.();
  try {
    return await connectWebSocket({
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
      signal,
    });
  } catch (thrown) {
    const sentence = `no connection to the broker: ${describeError(thrown)}`;
    throw new TunnelError(codeOf(thrown), sentence, { cause: thrown });
  }
}

/** What is final is the broker's own word alone: a proxy or firewall on the way may say something else soon. */
function codeOf(thrown: unknown): TunnelErrorCode {
  if (!(thrown instanceof HandshakeError)) return 'link_lost';
  const { status, brokerCode } = thrown;
  if (status === 429 || status === 503) return 'overloaded';
  if (brokerCode === 'unauthorized' || brokerCode === 'forbidden') return brokerCode;
  // A name that no cluster can have is one that no agent speaks for.
  return brokerCode !== undefined && status === 400 ? 'no_agent' : 'link_lost';
}
