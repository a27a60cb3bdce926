import type { AgentRecord } from '../directory.ts';

/** A claim that was made here. */
export interface OwnClaim {
  readonly alias: string;
  readonly field: string;
  /** As it is written in Redis. */
  text: string;
  record: AgentRecord;
  /** `superseded`: a newer one for the same tunnel is being made here, so this one is not to be said again. */
  state: 'held' | 'superseded' | 'released';
  /** Whether Redis has it, as far as is known; a released one waits for Redis to hear of it. */
  stored: boolean;
  releasedAtMs: number;
}

/** The claims made here, by the alias of their cluster and there by tunnel. */
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

  /** Idempotent, and of no effect on a claim that took its place. */
  delete(claim: OwnClaim): boolean {
    const claims = this.#byAlias.get(claim.alias);
    if (claims?.get(claim.field) !== claim) return false;
    claims.delete(claim.field);
    if (claims.size === 0) this.#byAlias.delete(claim.alias);
    return true;
  }

  /** The claims of one cluster that stand. */
  *unreleased(alias: string): Iterable<OwnClaim> {
    for (const claim of this.#byAlias.get(alias)?.values() ?? []) {
      if (claim.state !== 'released') yield claim;
    }
  }

  *[Symbol.iterator](): Iterator<OwnClaim> {
    for (const claims of this.#byAlias.values()) yield* claims.values();
  }
}
