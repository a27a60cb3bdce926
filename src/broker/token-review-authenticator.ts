import { credentialHeader } from '../base/tokens/certificate-token.ts';
import type { Clock } from '../base/clock.ts';
import {
  AuthenticationError,
  type Authenticator,
  bearerToken,
  type Identity,
  type Peer,
} from './authenticator.ts';
import { ReviewQueue } from './review-queue.ts';
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
 * refused token may be unknown only for the moment. Anyone can make tokens that are refused, so
 * refusals have a table of their own.
 */
const kept = {
  good: { forMs: 60_000, most: 10_000 },
  bad: { forMs: 10_000, most: 2_000 },
} as const;

interface Answer {
  readonly user: string | undefined;
  readonly untilMs: number;
}

/**
 * Authenticates agents by the token of their ServiceAccount on the hub cluster. Other requests go
 * to the next authenticator.
 */
export class TokenReviewAuthenticator implements Authenticator {
  readonly #reviewer: TokenReviewer;
  readonly #next: Authenticator;
  readonly #clock: Clock;
  readonly #queue = new ReviewQueue();
  // By a keyed digest of the token, so that a table of digests is useless without this process's
  // key; oldest first.
  readonly #good = new Map<string, Answer>();
  readonly #bad = new Map<string, Answer>();
  /** Reviews that have no answer yet. */
  readonly #open = new Map<string, Promise<string | undefined>>();
  readonly #key = crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);

  constructor(reviewer: TokenReviewer, next: Authenticator, clock: Clock) {
    this.#reviewer = reviewer;
    this.#next = next;
    this.#clock = clock;
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
    const digest = await this.#digestOf(token);
    const known = this.#good.get(digest) ?? this.#bad.get(digest);
    if (known !== undefined && known.untilMs > this.#clock.now()) return known.user;
    // Requests with the same token share one review.
    let open = this.#open.get(digest);
    if (open === undefined) {
      open = this.#ask(digest, token, address).finally(() => this.#open.delete(digest));
      this.#open.set(digest, open);
    }
    return await open;
  }

  async #ask(
    digest: string,
    token: string,
    address: string | undefined,
  ): Promise<string | undefined> {
    const user = await this.#queue.run(address, () => this.#reviewer.userOf(token));
    const [answers, { forMs, most }] =
      user === undefined ? [this.#bad, kept.bad] : [this.#good, kept.good];
    this.#good.delete(digest);
    this.#bad.delete(digest);
    answers.set(digest, { user, untilMs: this.#clock.now() + forMs });
    if (answers.size > most) {
      const [oldest] = answers.keys();
      answers.delete(oldest!);
    }
    return user;
  }

  async #digestOf(token: string): Promise<string> {
    const mac = await crypto.subtle.sign('HMAC', await this.#key, new TextEncoder().encode(token));
    return Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

/** The user that a ServiceAccount token claims. The token is not verified. */
function claimedUser(token: string): string | undefined {
  const { sub } = unverifiedClaims(token);
  return typeof sub === 'string' ? sub : undefined;
}

/**
 * The claims of a token that is not verified: only the API server knows whether they are true.
 * Empty where the text is no token.
 */
export function unverifiedClaims(token: string): {
  readonly sub?: unknown;
  readonly aud?: unknown;
} {
  try {
    const [, body = ''] = token.split('.', 2);
    const claims: unknown = JSON.parse(atob(body.replaceAll('-', '+').replaceAll('_', '/')));
    return typeof claims === 'object' && claims !== null ? claims : {};
  } catch {
    return {};
  }
}

function clusterOf(user: string | undefined): string | undefined {
  const [, cluster = ''] =
    /^system:serviceaccount:([^:]+):cluster-proxy-agent$/.exec(user ?? '') ?? [];
  return isClusterName(cluster) ? cluster : undefined;
}
