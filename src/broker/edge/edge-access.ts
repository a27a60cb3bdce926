import { allOf, type Authorizer } from '../../access/authorizer.ts';
import { type ClusterDirectory, noClusters } from '../../access/cluster-directory.ts';
import { Policy } from '../../access/policy.ts';
import { AccessReviewAuthorizer } from '../../access/subject-access-review.ts';
import type { WatchedAuthorizer } from '../../access/watched-authorizer.ts';
import { systemClock } from '../../base/clock.ts';
import type { DialerToken } from '../../base/tokens/token-subject.ts';
import { HubLabels } from '../../gateway/edge/hub-labels.ts';
import { type HubServer, openHubServer } from '../../gateway/edge/hub-server.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { DialerAccess } from '../dialer-access.ts';
import type { EdgeAccessOptions } from './access-options.ts';

/** The rules for clients of the Worker, and the hub cluster. */
export interface EdgeAccess {
  /** Undefined: every valid credential may do everything, and managed clusters decide. */
  readonly authorizer: WatchedAuthorizer | undefined;
  readonly clusters: ClusterDirectory;
  /** Undefined: no hub cluster is known. */
  readonly hub: HubServer | undefined;
}

/**
 * Opens the rules. Their caches and queues must stay in a Durable Object: an answer that a request
 * of the Worker waits for is lost for others when that request ends.
 */
export function openEdgeAccess({ policy, hub, asksHubAccess }: EdgeAccessOptions): EdgeAccess {
  const server = hub && openHubServer(hub);
  const clock = systemClock;
  const clusters: ClusterDirectory =
    server === undefined ? noClusters : new HubLabels({ readLabels: server.readLabels, clock });
  const all: Authorizer[] = [];
  if (policy !== undefined) all.push(Policy.parse(policy, { clusters }));
  if (asksHubAccess && server !== undefined) {
    all.push(new AccessReviewAuthorizer({ review: server.reviewAccess, clock, clusters }));
  }
  const rules = allOf(all);
  return {
    authorizer:
      all.length === 0
        ? undefined
        : {
            authorize: (...request) => rules.authorize(...request),
            // A new policy comes with a new version of the Worker, which drops all connections.
            onChange() {},
          },
    clusters,
    hub: server,
  };
}

/**
 * The part of a dialer's token that decides about its session with one cluster. Its names of
 * clusters may be more than a socket's attachment can hold.
 */
export function credentialFor(
  cluster: string,
  { name, id, expiresAtMs, clusters, selector }: DialerToken,
): DialerToken {
  const isForAll = clusters === undefined && selector === undefined;
  if (isForAll || clusters?.includes(cluster) === true) return { name, id, expiresAtMs };
  return { name, id, expiresAtMs, clusters: [], selector };
}

/** Why an open session of a dialer must end; undefined: it may go on. */
export async function sessionProblem(
  access: DialerAccess,
  credential: DialerToken,
  cluster: string,
): Promise<TunnelError | undefined> {
  if ((credential.expiresAtMs ?? Infinity) <= Date.now()) {
    // A dialer whose token was replaced in its file resumes its session with the new token.
    return new TunnelError('draining', 'the credential has expired');
  }
  const refusal = await access.refusal({ kind: 'dialer', ...credential }, cluster);
  // While it cannot be decided, the session stays.
  return refusal?.status === 403 ? new TunnelError('forbidden', refusal.message) : undefined;
}
