import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { Secret } from '../../base/secret.ts';
import { version } from '../../base/version.ts';
import { PooledDialer } from '../../dialer/pooled-dialer.ts';
import { parseErrorCode, TunnelError, type TunnelErrorCode } from '../../tunnel/errors.ts';
import type { SessionMetrics } from '../../dialer/session-metrics.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import type { AdmittedDialer } from '../admitted-client.ts';
import type { createApp } from '../app.ts';
import type { Relay } from '../relay.ts';
import type { BrokerOptions } from './options.ts';

export interface LocalDialerParts {
  readonly options: Pick<BrokerOptions, 'zone'>;
  readonly relay: Relay;
  readonly metrics: SessionMetrics;
  readonly log: Logger;
}

/**
 * Makes the dialer of a bridge or gateway in this process. Its links are function calls, otherwise
 * it is like a remote one.
 */
export function makeLocalDialer(
  dialer: 'bridge' | 'gateway',
  { options, relay, metrics, log }: LocalDialerParts,
): PooledDialer {
  const isGateway = dialer === 'gateway';
  return new PooledDialer({
    connect: async (cluster) =>
      admit(relay, { kind: 'dialer', cluster, dialer, isGateway, isLocal: true }),
    clock: systemClock,
    log: log.child({ subsystem: 'dialer' }),
    software: `culvert-${dialer}/${version}`,
    zone: options.zone,
    metrics,
  });
}

/**
 * Makes a dialer with the rights of a token that a client of this process has shown. Each of its
 * links passes the same checks as that of a remote dialer, because the broker's own routes make
 * them.
 */
export function makeTokenDialer(
  token: Secret,
  app: Pick<ReturnType<typeof createApp>, 'fetch'>,
  { options, relay, log }: Omit<LocalDialerParts, 'metrics'>,
): PooledDialer {
  const connect = async (cluster: string): Promise<AttachableLink> => {
    let link: AttachableLink | undefined;
    const request = new Request(
      `http://broker/v1/clusters/${encodeURIComponent(cluster)}/session`,
      { headers: { Authorization: `Bearer ${token.reveal()}` } },
    );
    const response = await app.fetch(request, {
      isLocal: true,
      acceptLink: (client) => {
        if (client.kind === 'dialer') link = admit(relay, { ...client, isLocal: true });
        return new Response(null, { status: 204 });
      },
    });
    if (link !== undefined) return link;
    const { code, message } = (await response.json()) as { code: string; message: string };
    throw new TunnelError(codeOf(response.status, code), message);
  };
  return new PooledDialer({
    connect,
    clock: systemClock,
    log: log.child({ subsystem: 'dialer' }),
    software: `culvert-bridge/${version}`,
    zone: options.zone,
  });
}

function admit(relay: Relay, client: AdmittedDialer): AttachableLink {
  const [near, far] = memoryLinkPair(queueMicrotask, { peers: ['broker', 'bridge'] });
  relay.admit(far, client);
  return near;
}

/** As a remote dialer reads the same answers. */
function codeOf(status: number, code: string): TunnelErrorCode {
  // No cluster can have this name, so no agent can be connected.
  if (status === 400) return 'no_agent';
  if (status === 403) return 'forbidden';
  return parseErrorCode(code, 'overloaded');
}
