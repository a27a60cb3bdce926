import { AuthenticationChain } from '../access/authentication-chain.ts';
import { allowAll } from '../access/authorizer.ts';
import { KubeTokenAuthenticator } from '../access/kube-token-authenticator.ts';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Metrics } from '../base/metrics/metrics.ts';
import type { ProxyEnvironment } from '../base/net/proxy-environment.ts';
import type { Dialer } from '../dialer/dialer.ts';
import { reviewAtManagedCluster } from '../gateway/managed-token-review.ts';
import type { RunningGateway } from '../gateway/node/gateway-server.ts';
import { type GatewayOptions, startGateway } from '../gateway/node/start-gateway.ts';
import { openHttpExchanges } from '../http-exchange/open-http-exchange.ts';
import { type GatewayHubAccess, openGatewayHub } from './gateway-hub.ts';

export interface GatewayProgramParts {
  readonly dialer: Dialer;
  /** Undefined: the gateway knows no hub cluster, and forwards all credentials unchecked. */
  readonly hub: GatewayHubAccess | undefined;
  readonly proxies: ProxyEnvironment | undefined;
  /** Whether a list of clusters has a cluster (default: no list exists). */
  readonly isKnownCluster?: ((cluster: string) => boolean | undefined) | undefined;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Gets everything that ends with the program. */
  readonly stack: AsyncDisposableStack;
}

/** Starts a gateway whose requests go through a dialer. */
export async function startGatewayProgram(
  options: GatewayOptions,
  { dialer, hub: access, proxies, isKnownCluster, metrics, log, stack }: GatewayProgramParts,
): Promise<RunningGateway> {
  const clock = systemClock;
  const open = openHttpExchanges(dialer);
  const hub = access && stack.use(openGatewayHub(access, { proxies, clock, log }));
  const authenticator = new AuthenticationChain({
    managed: new KubeTokenAuthenticator({
      source: 'managed-token',
      review: reviewAtManagedCluster(open),
      clock,
    }),
    hub: hub?.tokens,
    acceptsCertificates: options.tls?.clientCaFile !== undefined,
  });
  return stack.use(
    await startGateway(options, {
      ...{ open, authenticator, isKnownCluster, log },
      authorizer: allowAll,
      hub: hub?.api,
      metrics: metrics.group('culvert_gateway'),
    }),
  );
}
