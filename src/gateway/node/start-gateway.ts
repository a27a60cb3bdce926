import type { Authorizer } from '../../access/authorizer.ts';
import type { OidcOptions } from '../../access/oidc-options.ts';
import type { RequestAuthenticator } from '../../access/request-authenticator.ts';
import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { AuditEvent } from '../audit.ts';
import { Gateway, type GatewayParts } from '../gateway.ts';
import { UserLimits, type UserLimitValues } from '../user-limits.ts';
import {
  type ExposedServicesSource,
  noServices,
  servicesOfConfigMap,
  servicesOfFile,
} from './exposed-services-source.ts';
import { type GatewayMetrics, noMetrics, requestCounters } from './gateway-metrics.ts';
import {
  type GatewayServerOptions,
  type RunningGateway,
  startGatewayServer,
} from './gateway-server.ts';
import type { NamespacedName } from './exposed-services-source.ts';

export interface GatewayOptions extends GatewayServerOptions {
  /** The domain of `https://<cluster>.<domain>/` (default: only the path form). */
  readonly domain?: string | undefined;
  readonly exposedServicesFile?: string | undefined;
  readonly exposedServicesConfigMap?: NamespacedName | undefined;
  /** The OIDC issuer of clusters without an issuer of their own, for the authenticator. */
  readonly oidc?:
    | { readonly options: OidcOptions; readonly caFile: string | undefined }
    | undefined;
  /** The ConfigMap with the settings of clusters, for the authenticator. */
  readonly clusterSettingsConfigMap?: NamespacedName | undefined;
  readonly userLimits: UserLimitValues;
}

export interface GatewayProgramParts {
  readonly open: OpenHttpExchange;
  readonly authenticator: RequestAuthenticator;
  readonly authorizer: Authorizer;
  /** Ends watches and sessions whose user loses the right to them (default: nothing does). */
  readonly grants?: GatewayParts['grants'];
  /** The hub cluster; needed for `exposedServicesConfigMap`. */
  readonly hub?: KubeApi | undefined;
  /** Whether a list of clusters has a cluster (default: no list exists). */
  readonly isKnownCluster?: ((cluster: string) => boolean | undefined) | undefined;
  readonly metrics?: GatewayMetrics | undefined;
  readonly log: Logger;
}

/**
 * Starts a gateway with everything that its options ask for.
 *
 * @throws Error the address is in use, or a file cannot be used
 */
export async function startGateway(
  options: GatewayOptions,
  parts: GatewayProgramParts,
): Promise<RunningGateway> {
  await using opened = new AsyncDisposableStack();
  const { metrics = noMetrics, open, isKnownCluster } = parts;
  const clock = systemClock;
  const log = parts.log.child({ subsystem: 'gateway' });
  const services = opened.use(await openServices(options, parts));
  const userLimits = new UserLimits(options.userLimits, clock);
  const count = requestCounters(metrics);
  const gateway = new Gateway({
    authenticator: parts.authenticator,
    authorizer: parts.authorizer,
    grants: parts.grants,
    exposedServices: () => services.value,
    domain: options.domain,
    isKnownCluster,
    limits: userLimits,
    audit: (event) => {
      count(event);
      logRequest(log, event);
    },
    clock,
  });
  const server = opened.use(
    await startGatewayServer(options, {
      ...{ gateway, open, userLimits, isKnownCluster, metrics, clock },
      log: parts.log,
    }),
  );
  const all = opened.move();
  return {
    get address() {
      return server.address;
    },
    get url() {
      return server.url;
    },
    get isDraining() {
      return server.isDraining;
    },
    drain: (signal) => server.drain(signal),
    close: () => all.disposeAsync(),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function openServices(
  { exposedServicesFile: path, exposedServicesConfigMap: name }: GatewayOptions,
  { hub, log }: GatewayProgramParts,
): Promise<ExposedServicesSource> {
  const clock = systemClock;
  if (name !== undefined && hub !== undefined) {
    return servicesOfConfigMap(hub, name, { clock, log });
  }
  return path === undefined ? noServices : await servicesOfFile(path, { clock, log });
}

/** One line for each request, at `debug`, because strangers can cause any number of them. */
function logRequest(log: Logger, event: AuditEvent): void {
  const { cluster, method, code, failure, user, address } = event;
  const durationMs = Math.round(event.durationMs);
  const fields = { cluster, type: method, code, subject: user, peer: address, durationMs };
  if (failure === undefined) log.debug('request ended', fields);
  else log.debug('request refused', { ...fields, reason: failure.reason, stage: failure.hop });
}
