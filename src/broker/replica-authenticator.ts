import {
  AuthenticationError,
  AuthenticationUnavailableError,
  type Authenticator,
  type Identity,
  type Peer,
} from './authenticator.ts';
import { proofAgeS, type ReplicaKeys } from './replica-keys.ts';

/**
 * How many proofs are remembered. Only a replica can make a proof, and each is remembered for two
 * minutes, so this allows a thousand forwarded sessions per second all the time. It takes about 15
 * MiB.
 */
const maxRemembered = 120_000;

/** How far another replica's clock may be behind ours when this process starts, in seconds. */
const startToleranceS = 5;

/**
 * Authenticates the other replicas by the keys that they share. Other requests go to the next
 * authenticator. A proof is valid for one request: it is remembered until it has expired, even when
 * the keys change.
 */
export class ReplicaAuthenticator implements Authenticator {
  readonly #keys: () => ReplicaKeys;
  readonly #address: string;
  readonly #next: Authenticator;
  readonly #nowS: () => number;
  readonly #startedS: number;
  readonly #maxProofs: number;
  /** When each nonce may be forgotten, in seconds since 1970, earliest first. */
  readonly #used = new Map<string, number>();

  /**
   * @param keys returns the current keys
   * @param address this replica's address in the directory
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
    // Proofs that were used before this process started are not remembered. An honest replica
    // learns our address later.
    if (seconds < this.#startedS - startToleranceS) {
      throw new AuthenticationError(
        'the proof of the replica was made before this broker started, or the clocks differ by more than 5 s',
      );
    }
    this.#use(bound.nonce);
    return { kind: 'replica', name, cluster: bound.cluster, isGateway: bound.isGateway, answer };
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
    // The clock that made it may be ahead of ours.
    this.#used.set(nonce, nowS + 2 * proofAgeS + 1);
  }
}
