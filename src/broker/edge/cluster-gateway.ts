import { AuthenticationChain } from '../../access/authentication-chain.ts';
import { allOf, allowAll, type Authorizer } from '../../access/authorizer.ts';
import type { ClusterDirectory } from '../../access/cluster-directory.ts';
import { KubeTokenAuthenticator } from '../../access/kube-token-authenticator.ts';
import { Policy } from '../../access/policy.ts';
import { AccessReviewAuthorizer } from '../../access/subject-access-review.ts';
import { systemClock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { AuditEvent } from '../../gateway/audit.ts';
import { EdgeOidc } from '../../gateway/edge/edge-oidc.ts';
import { hubReviews } from '../../gateway/edge/hub-reviews.ts';
import { type EdgeContext, serveRequest } from '../../gateway/edge/serve-request.ts';
import { Gateway } from '../../gateway/gateway.ts';
import { reviewAtManagedCluster } from '../../gateway/managed-token-review.ts';
import type { ForwardedClient } from '../../gateway/request-headers.ts';
import { UserLimits } from '../../gateway/user-limits.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import type { Relay } from '../relay.ts';
import { withoutAdmitted } from './admitted.ts';
import { ClusterExchanges } from './cluster-exchanges.ts';
import type { EdgeGatewayOptions } from './gateway-options.ts';

export interface ClusterGatewayParts {
  readonly cluster: string;
  readonly relay: Relay;
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
    const { cluster, relay } = parts;
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
    const reviews = options.hub && hubReviews(options.hub);
    const gateway = new Gateway({
      authenticator: new AuthenticationChain({
        managed: new KubeTokenAuthenticator({
          source: 'managed-token',
          review: reviewAtManagedCluster(open),
          clock,
        }),
        hub:
          reviews &&
          new KubeTokenAuthenticator({
            source: 'hub-token',
            review: () => reviews.reviewToken,
            clock,
          }),
        oidc: options.oidc && new EdgeOidc(options.oidc, { clock, log }),
        identifiesForwarded: options.policy !== undefined || options.asksHubAccess,
      }),
      authorizer: authorizerOf(options, cluster, reviews?.reviewAccess),
      exposedServices: () => options.exposedServices,
      domain: options.domain,
      limits: new UserLimits(options.userLimits, clock),
      audit: (event) => logRequest(log, event),
      clock,
    });
    this.#context = {
      ...{ gateway, open, log },
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
    const own = new Request(request, { headers: withoutAdmitted(request.headers) });
    return await serveRequest(this.#context, own, client);
  }
}

function authorizerOf(
  { policy, asksHubAccess }: EdgeGatewayOptions,
  cluster: string,
  review: ConstructorParameters<typeof AccessReviewAuthorizer>[0]['review'] | undefined,
): Authorizer {
  // The labels of clusters are not known here.
  const clusters: ClusterDirectory = { labelsOf: () => undefined, names: () => [cluster] };
  const all: Authorizer[] = [];
  if (policy !== undefined) all.push(Policy.parse(policy, { clusters }));
  if (asksHubAccess && review !== undefined) {
    all.push(new AccessReviewAuthorizer({ review, clock: systemClock, clusters }));
  }
  return all.length === 0 ? allowAll : allOf(all);
}

/** The line of a request in the log: `debug`, and `info` if the gateway refused it. */
function logRequest(log: Logger, event: AuditEvent): void {
  const { cluster, method, code, failure, durationMs, user, address } = event;
  const fields = { cluster, type: method, code, subject: user, peer: address, durationMs };
  if (failure === undefined) log.debug('request ended', fields);
  else log.info('request refused', { ...fields, reason: failure.reason, stage: failure.hop });
}
