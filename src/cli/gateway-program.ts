import { AuthenticationChain } from '../access/authentication-chain.ts';
import { allowAll } from '../access/authorizer.ts';
import { KubeTokenAuthenticator } from '../access/kube-token-authenticator.ts';
import { LiveGrants } from '../access/live-grants.ts';
import { ClusterAuthentication } from '../access/node/cluster-authentication.ts';
import { keyedDigest } from '../access/node/keyed-digest.ts';
import { OidcIssuer } from '../access/node/oidc-issuer.ts';
import type { WatchedAuthorizer } from '../access/watched-authorizer.ts';
import { systemClock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { Metrics } from '../base/metrics/metrics.ts';
import type { Dialer } from '../dialer/dialer.ts';
import { reviewAtManagedCluster } from '../gateway/managed-token-review.ts';
import type { RunningGateway } from '../gateway/node/gateway-server.ts';
import { type GatewayOptions, startGateway } from '../gateway/node/start-gateway.ts';
import { openHttpExchange } from '../http-exchange/open-http-exchange.ts';
import type { GatewayHub } from './gateway-hub.ts';

export interface GatewayProgramParts {
  readonly dialer: Dialer;
  /** Undefined: the gateway knows no hub cluster, and forwards all credentials unchecked. */
  readonly hub: GatewayHub | undefined;
  /** The rules at the hub (default: the managed cluster's own rules decide). */
  readonly rules?: WatchedAuthorizer | undefined;
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
  parts: GatewayProgramParts,
): Promise<RunningGateway> {
  const { dialer, hub, rules, isKnownCluster, metrics, log, stack } = parts;
  const clock = systemClock;
  const open = openHttpExchange(dialer);
  const { oidc: issuer, clusterSettingsConfigMap: configMap } = options;
  const oidc =
    issuer && stack.use(new OidcIssuer(issuer.options, { caFile: issuer.caFile, clock, log }));
  const clusters =
    hub && configMap
      ? stack.use(new ClusterAuthentication({ api: hub.api, configMap, oidc, clock, log }))
      : undefined;
  const authenticator = new AuthenticationChain({
    managed: new KubeTokenAuthenticator({
      source: 'managed-token',
      review: reviewAtManagedCluster(open),
      digest: keyedDigest,
      clock,
    }),
    hub: hub?.tokens,
    oidc,
    providersOf: clusters && ((cluster) => clusters.providersOf(cluster)),
    acceptsCertificates: options.tls?.clientCaFile !== undefined,
    identifiesForwarded: rules !== undefined,
  });
  return stack.use(
    await startGateway(options, {
      ...{ open, authenticator, isKnownCluster, log },
      authorizer: rules ?? allowAll,
      grants: rules && stack.use(new LiveGrants({ authorizer: rules, clock })),
      hub: hub?.api,
      metrics: metrics.group('culvert_gateway'),
    }),
  );
}
