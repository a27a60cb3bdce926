import { credentialHeader } from '../base/certificate-token.ts';
import type { Clock } from '../base/clock.ts';
import { isClusterName } from '../base/enrolment-token-subject.ts';
import {
  AuthenticationError,
  type Authenticator,
  bearerToken,
  type Identity,
  type Peer,
} from './authenticator.ts';

/** Asks the hub's API server whose token this is. */
export interface TokenReviewer {
  /**
   * The name of the user; undefined: the token is nobody's.
   *
   * @throws AuthenticationUnavailableError the API server does not answer
   */
  userOf(token: string): Promise<string | undefined>;
}

/** The ServiceAccount that the token driver of a registration gives to the agents of a cluster, in the namespace of the cluster. */
const agentServiceAccount = 'cluster-proxy-agent';

/** How long an answer of the API server holds, in milliseconds. A token that was refused may be one that is not known yet. */
const holdMs = { good: 60_000, bad: 10_000 };
const maxHeld = 10_000;

interface Held {
  readonly user: Promise<string | undefined>;
  untilMs: number;
}

/** Knows agents by the token of their ServiceAccount on the hub. Everybody else is for the next authenticator. */
export class TokenReviewAuthenticator implements Authenticator {
  readonly #reviewer: TokenReviewer;
  readonly #next: Authenticator;
  readonly #clock: Clock;
  /** Answers, by a digest that nobody can make from a token without this process's key. */
  readonly #held = new Map<string, Held>();
  readonly #key = crypto.subtle.generateKey({ name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);

  constructor(reviewer: TokenReviewer, next: Authenticator, clock: Clock) {
    this.#reviewer = reviewer;
    this.#next = next;
    this.#clock = clock;
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const token = bearerToken(headers.get(credentialHeader));
    if (token === undefined) return await this.#next.authenticate(headers, peer);
    // Only what claims to be such a token is worth a question to the API server.
    const claimed = clusterOf(claimedUser(token));
    if (claimed === undefined) {
      throw new AuthenticationError(
        `the token in ${credentialHeader} is neither made with an agent's certificate nor of a ServiceAccount ${agentServiceAccount}`,
      );
    }
    const cluster = clusterOf(await this.#userOf(token));
    if (cluster !== undefined) return { kind: 'agent', cluster, registered: true };
    throw new AuthenticationError(
      `the API server of the hub does not know the token of ${claimed}/${agentServiceAccount}; is it expired, or of another hub?`,
    );
  }

  async #userOf(token: string): Promise<string | undefined> {
    const digest = await this.#digestOf(token);
    const held = this.#held.get(digest);
    if (held !== undefined && held.untilMs > this.#clock.now()) return await held.user;
    // Whoever comes while the question is on its way gets its answer.
    const entry: Held = { user: this.#reviewer.userOf(token), untilMs: Infinity };
    this.#held.set(digest, entry);
    this.#dropOldest();
    try {
      const user = await entry.user;
      entry.untilMs = this.#clock.now() + (user === undefined ? holdMs.bad : holdMs.good);
      return user;
    } catch (thrown) {
      if (this.#held.get(digest) === entry) this.#held.delete(digest);
      throw thrown;
    }
  }

  #dropOldest(): void {
    if (this.#held.size <= maxHeld) return;
    const [oldest] = this.#held.keys();
    this.#held.delete(oldest!);
  }

  async #digestOf(token: string): Promise<string> {
    const mac = await crypto.subtle.sign('HMAC', await this.#key, new TextEncoder().encode(token));
    return Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}

/** The user that a ServiceAccount token claims, believed by nobody. */
function claimedUser(token: string): string | undefined {
  try {
    const [, body = ''] = token.split('.', 2);
    const claims = JSON.parse(atob(body.replaceAll('-', '+').replaceAll('_', '/'))) as {
      readonly sub?: unknown;
    };
    return typeof claims.sub === 'string' ? claims.sub : undefined;
  } catch {
    return undefined;
  }
}

function clusterOf(user: string | undefined): string | undefined {
  const [, cluster = ''] =
    /^system:serviceaccount:([^:]+):cluster-proxy-agent$/.exec(user ?? '') ?? [];
  return isClusterName(cluster) ? cluster : undefined;
}
