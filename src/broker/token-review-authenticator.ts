import { AccessError } from '../access/access-error.ts';
import { AnswerCache } from '../access/answer-cache.ts';
import { ReviewQueue } from '../access/review-queue.ts';
import { unverifiedToken } from '../access/unverified-token.ts';
import { credentialHeader } from '../base/tokens/certificate-token.ts';
import type { Clock } from '../base/clock.ts';
import {
  AuthenticationError,
  AuthenticationUnavailableError,
  type Authenticator,
  bearerToken,
  type Identity,
  type Peer,
} from './authenticator.ts';
import { isClusterName } from '../base/names/cluster-name.ts';

/** Asks the hub cluster's API server about tokens. */
export interface TokenReviewer {
  /**
   * The name of the token's user; undefined: the API server does not know the token.
   *
   * @throws AuthenticationUnavailableError the API server does not answer
   */
  userOf(token: string): Promise<string | undefined>;
}

/**
 * The ServiceAccount of a cluster's agents, in the namespace of the cluster, when a registration
 * uses the token driver.
 */
const agentServiceAccount = 'cluster-proxy-agent';

/**
 * How long an answer of the API server is valid, in milliseconds, and how many answers are kept. A
 * refused token may be unknown only for the moment.
 */
const kept = {
  good: { forMs: 60_000, most: 10_000 },
  bad: { forMs: 10_000, most: 2_000 },
} as const;

/**
 * Authenticates agents by the token of their ServiceAccount on the hub cluster. Other requests go
 * to the next authenticator.
 */
export class TokenReviewAuthenticator implements Authenticator {
  readonly #reviewer: TokenReviewer;
  readonly #next: Authenticator;
  readonly #queue = new ReviewQueue();
  readonly #cache: AnswerCache<string | undefined>;

  constructor(reviewer: TokenReviewer, next: Authenticator, clock: Clock) {
    this.#reviewer = reviewer;
    this.#next = next;
    this.#cache = new AnswerCache({ clock, ...kept });
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const token = bearerToken(headers.get(credentialHeader));
    if (token === undefined) return await this.#next.authenticate(headers, peer);
    // The API server is asked only about tokens that claim to be of such a ServiceAccount.
    const claimed = clusterOf(claimedUser(token));
    if (claimed === undefined) {
      throw new AuthenticationError(
        `the token in ${credentialHeader} is neither made with an agent's certificate nor of a ServiceAccount ${agentServiceAccount}`,
      );
    }
    const cluster = clusterOf(await this.#userOf(token, peer.address));
    if (cluster !== undefined) return { kind: 'agent', cluster, registered: true };
    throw new AuthenticationError(
      `the API server of the hub does not know the token of ${claimed}/${agentServiceAccount}; is it expired, or of another hub?`,
    );
  }

  async #userOf(token: string, address: string | undefined): Promise<string | undefined> {
    try {
      return await this.#cache.get([token], () =>
        this.#queue.run(address, () => this.#reviewer.userOf(token)),
      );
    } catch (thrown) {
      if (!(thrown instanceof AccessError)) throw thrown;
      throw new AuthenticationUnavailableError(thrown.message, { cause: thrown });
    }
  }
}

/** The user that a ServiceAccount token claims. The token is not verified. */
function claimedUser(token: string): string | undefined {
  const { sub } = unverifiedToken(token);
  return typeof sub === 'string' ? sub : undefined;
}

function clusterOf(user: string | undefined): string | undefined {
  const [, cluster = ''] =
    /^system:serviceaccount:([^:]+):cluster-proxy-agent$/.exec(user ?? '') ?? [];
  return isClusterName(cluster) ? cluster : undefined;
}
