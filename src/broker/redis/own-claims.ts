import type { AgentRecord } from '../directory.ts';

/** A claim that this process has made. */
export interface OwnClaim {
  /** The cluster's alias. */
  readonly alias: string;
  /** `tunnelKey` of the tunnel. */
  readonly field: string;
  /** The claim as it is stored in Redis. */
  text: string;
  record: AgentRecord;
  /**
   * `superseded`: this process makes a newer claim for the same tunnel, so this claim is not
   * renewed.
   */
  state: 'held' | 'superseded' | 'released';
  /** Whether Redis has this claim, or its release, as far as is known. */
  stored: boolean;
  releasedAtMs: number;
}

/** The claims that this process has made, by the alias of their cluster and within it by tunnel. */
export class OwnClaims {
  readonly #byAlias = new Map<string, Map<string, OwnClaim>>();

  get isEmpty(): boolean {
    return this.#byAlias.size === 0;
  }

  get(alias: string, field: string): OwnClaim | undefined {
    return this.#byAlias.get(alias)?.get(field);
  }

  set(claim: OwnClaim): void {
    const claims = this.#byAlias.get(claim.alias) ?? new Map<string, OwnClaim>();
    claims.set(claim.field, claim);
    this.#byAlias.set(claim.alias, claims);
  }

  /** Idempotent, and without effect on a claim that has replaced this one. */
  delete(claim: OwnClaim): boolean {
    const claims = this.#byAlias.get(claim.alias);
    if (claims?.get(claim.field) !== claim) return false;
    claims.delete(claim.field);
    if (claims.size === 0) this.#byAlias.delete(claim.alias);
    return true;
  }

  /** The claims of one cluster that are not released. */
  *unreleased(alias: string): Iterable<OwnClaim> {
    for (const claim of this.#byAlias.get(alias)?.values() ?? []) {
      if (claim.state !== 'released') yield claim;
    }
  }

  *[Symbol.iterator](): Iterator<OwnClaim> {
    for (const claims of this.#byAlias.values()) yield* claims.values();
  }
}
