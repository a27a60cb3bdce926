import {
  AuthenticationChain,
  type AuthenticationChainOptions,
} from '../../access/authentication-chain.ts';
import { allowAll } from '../../access/authorizer.ts';
import { settingsOf } from '../../access/cluster-settings.ts';
import { KubeTokenAuthenticator } from '../../access/kube-token-authenticator.ts';
import { LiveGrants } from '../../access/live-grants.ts';
import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AuditEvent } from '../../gateway/audit.ts';
import { EdgeOidc } from '../../gateway/edge/edge-oidc.ts';
import type { EdgeContext } from '../../gateway/edge/edge-context.ts';
import { EdgeProviders, type EdgeProvidersParts } from '../../gateway/edge/edge-providers.ts';
import { HubClusterSettings } from '../../gateway/edge/hub-cluster-settings.ts';
import type { HubServer } from '../../gateway/edge/hub-server.ts';
import { serveRequest } from '../../gateway/edge/serve-request.ts';
import { Gateway } from '../../gateway/gateway.ts';
import { reviewAtManagedCluster } from '../../gateway/managed-token-review.ts';
import type { ForwardedClient } from '../../gateway/request-headers.ts';
import { UserLimits } from '../../gateway/user-limits.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import type { Relay } from '../relay.ts';
import { admittedHeader } from './admitted.ts';
import { ClusterExchanges } from './cluster-exchanges.ts';
import type { EdgeAccess } from './edge-access.ts';
import type { EdgeGatewayOptions } from './gateway-options.ts';

export interface ClusterGatewayParts {
  readonly cluster: string;
  readonly relay: Relay;
  readonly access: EdgeAccess;
  /** Whether the cluster ever had an agent here. */
  readonly hadAgent: () => Promise<boolean>;
  readonly log: Logger;
}

/** The gateway of one cluster, in its Durable Object. */
export class ClusterGateway {
  readonly #parts: ClusterGatewayParts;
  readonly #context: EdgeContext;
  #isKnown: boolean | undefined;

  constructor(options: EdgeGatewayOptions, parts: ClusterGatewayParts) {
    this.#parts = parts;
    const { cluster, relay, access } = parts;
    const log = parts.log.child({ subsystem: 'gateway' });
    const exchanges = new ClusterExchanges({
      connect() {
        // The runtime refuses its functions as methods of another object.
        const schedule = (run: () => void): void => queueMicrotask(run);
        const [near, far] = memoryLinkPair(schedule, { peers: ['broker', 'gateway'] });
        relay.admit(far, { kind: 'dialer', cluster, dialer: 'gateway', isGateway: true });
        return near;
      },
      log,
    });
    const { open } = exchanges;
    const clock = systemClock;
    const { authorizer, hub } = access;
    const oidc = options.oidc && new EdgeOidc(options.oidc, { clock, log });
    const gateway = new Gateway({
      authenticator: new AuthenticationChain({
        managed: new KubeTokenAuthenticator({
          source: 'managed-token',
          review: reviewAtManagedCluster(open),
          clock,
        }),
        hub:
          hub &&
          new KubeTokenAuthenticator({
            source: 'hub-token',
            review: () => hub.reviewToken,
            clock,
          }),
        oidc,
        providersOf: ownProviders(cluster, options, { hub, oidc, clock, log }),
        identifiesForwarded: authorizer !== undefined,
      }),
      authorizer: authorizer ?? allowAll,
      // Its timer runs while a watch or an exec session is open, which keeps the object awake anyway.
      grants: authorizer && new LiveGrants({ authorizer, clock }),
      exposedServices: () => options.exposedServices,
      domain: options.domain,
      limits: new UserLimits(options.userLimits, clock),
      audit: (event) => logRequest(log, event),
      clock,
    });
    this.#context = {
      ...{ gateway, open, log },
      ownField: admittedHeader.toLowerCase(),
      isKnownCluster: () => this.#isKnown,
      acceptWebSocket(headers) {
        const { 0: client, 1: server } = new WebSocketPair();
        // The connection cannot outlive this object's memory, so the runtime must not let it sleep.
        server.binaryType = 'arraybuffer';
        server.accept();
        const response = new Response(null, { status: 101, webSocket: client, headers });
        return { response, socket: server };
      },
    };
  }

  async serve(request: Request, client: ForwardedClient): Promise<Response> {
    if (this.#isKnown !== true) this.#isKnown = await this.#parts.hadAgent();
    return await serveRequest(this.#context, request, client);
  }
}

/** The providers of the cluster; undefined: it has no settings of its own. */
function ownProviders(
  cluster: string,
  { clusterSettings, clusterSettingsConfigMap: configMap }: EdgeGatewayOptions,
  { hub, ...parts }: EdgeProvidersParts & { readonly hub: HubServer | undefined },
): AuthenticationChainOptions['providersOf'] {
  const providers = new EdgeProviders(parts);
  if (hub !== undefined && configMap !== undefined) {
    const { readConfigMap } = hub;
    const settings = new HubClusterSettings({ ...parts, readConfigMap, configMap, cluster });
    return async () => providers.of(await settings.current());
  }
  const settings = settingsOf(cluster, clusterSettings);
  return settings && (() => providers.of(settings));
}

/** The line of a request in the log: `debug`, and `info` if the gateway refused it. */
function logRequest(log: Logger, event: AuditEvent): void {
  const { cluster, method, code, failure, durationMs, user, address } = event;
  const fields = { cluster, type: method, code, subject: user, peer: address, durationMs };
  if (failure === undefined) log.debug('request ended', fields);
  else log.info('request refused', { ...fields, reason: failure.reason, stage: failure.hop });
}
