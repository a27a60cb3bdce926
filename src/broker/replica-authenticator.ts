import {
  AuthenticationError,
  AuthenticationUnavailableError,
  type Authenticator,
  type Identity,
  type Peer,
} from './authenticator.ts';
import { proofAgeS, type ReplicaKeys } from './replica-keys.ts';

/**
 * How many proofs are remembered. Only a replica can make one, and a proof is remembered for two minutes, so this is a thousand forwarded
 * sessions per second all the time. It takes some 15 MiB.
 */
const maxRemembered = 120_000;

/** How far behind ours the clock of a replica may be when we start, in seconds. */
const startToleranceS = 5;

/**
 * Knows the other replicas by the keys they share; everybody else is for the next authenticator. A proof is good for one request: it is
 * remembered for as long as it could be shown again, also when the keys change.
 */
export class ReplicaAuthenticator implements Authenticator {
  readonly #keys: () => ReplicaKeys;
  readonly #address: string;
  readonly #next: Authenticator;
  readonly #nowS: () => number;
  readonly #startedS: number;
  readonly #maxProofs: number;
  /** When each nonce may be forgotten, in seconds since 1970. In the order of that. */
  readonly #used = new Map<string, number>();

  /**
   * @param keys those of the moment
   * @param address where other replicas reach this one, as they have it from the directory
   */
  constructor(
    keys: () => ReplicaKeys,
    address: string,
    next: Authenticator,
    { nowS = () => Math.floor(Date.now() / 1000), maxProofs = maxRemembered } = {},
  ) {
    this.#keys = keys;
    this.#address = address;
    this.#next = next;
    this.#nowS = nowS;
    this.#maxProofs = maxProofs;
    this.#startedS = nowS();
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const proven = await this.#keys().verify(headers, this.#address);
    if (proven === undefined) return this.#next.authenticate(headers, peer);
    const { dialer: name, answer, seconds, bound } = proven;
    if (bound === undefined) return { kind: 'replica', name, cluster: undefined, answer };
    // What was used before we started has been forgotten. An honest replica learns our address after we started.
    if (seconds < this.#startedS - startToleranceS) {
      throw new AuthenticationError(
        'the proof of the replica was made before this broker started, or the clocks differ by more than 5 s',
      );
    }
    this.#use(bound.nonce);
    return { kind: 'replica', name, cluster: bound.cluster, answer };
  }

  #use(nonce: string): void {
    const nowS = this.#nowS();
    for (const [oldest, forgetAtS] of this.#used) {
      if (forgetAtS > nowS) break;
      this.#used.delete(oldest);
    }
    if (this.#used.has(nonce)) {
      throw new AuthenticationError('the proof of the replica has been used before');
    }
    if (this.#used.size >= this.#maxProofs) {
      const message = `${this.#maxProofs} sessions were forwarded here within two minutes, more cannot be checked`;
      throw new AuthenticationUnavailableError(message);
    }
    // It may have been made by a clock that is ahead of ours.
    this.#used.set(nonce, nowS + 2 * proofAgeS + 1);
  }
}
