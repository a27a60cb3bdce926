import type { Certificate } from '../../base/x509/index.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import {
  authoritySecret,
  type AuthorityState,
  bundleOf,
  readAuthorityState,
  readBundle,
  type RotationStage,
  type SignerSecret,
  stageOf,
  timeIn,
} from './authority-state.ts';
import { type Authority, type AuthorityKind, makeAuthority } from './authority.ts';
import { dayMs, hourMs, renewAt } from './lifetimes.ts';
import { annotationOf, annotations, textIn } from './secret.ts';

/**
 * The minimum time of a stage, in milliseconds. In it every program loads the files that changed.
 * A requested rotation is fast. A rotation by age has years, and waits for people who keep copies
 * of a bundle or of a client's certificate elsewhere.
 */
export const minimumWaits = {
  requested: { distributeMs: 10 * 60_000, retireMs: hourMs },
  age: { distributeMs: 30 * dayMs, retireMs: 180 * dayMs },
} as const;

/** The longest time that a stage waits for laggards beyond its own time, in milliseconds. */
const maxExtraWaitMs = dayMs;

/** The interval in which laggards are counted, in milliseconds. */
const laggardsIntervalMs = 60_000;

/**
 * The names of managed clusters that have not followed a stage. The argument has the CA that signs
 * and the bundle in that stage.
 */
export type FindLaggards = (now: {
  readonly signing: Authority;
  readonly bundlePem: string;
}) => readonly string[];

/** The end of a stage. */
export interface RotationWait {
  /** The end of its own time. */
  readonly until: Date;
  /** When the stage ends even if laggards are left. */
  readonly atLatest: Date;
  /** Names of clusters. */
  readonly laggards: readonly string[];
}

export interface AuthoritySpec extends SignerSecret {
  readonly commonName: string;
  readonly kind: AuthorityKind;
  readonly now: Date;
  /** No rotation begins or continues, because clusters cannot learn of it. */
  readonly paused: boolean;
  /** The clusters for which each stage waits, for a day at most. */
  readonly laggards: Partial<Record<RotationStage, FindLaggards>>;
  /** The Secret with the bundle that others trust, under `ca.crt`. */
  readonly bundle: KubeObject | undefined;
  /** The certificates that the CA has signed, as far as they are on the hub. */
  readonly leaves: readonly Certificate[];
}

export type AuthorityPlan = Readonly<Awaited<ReturnType<AuthorityRotation['plan']>>>;

/**
 * The rotation of a CA. Its whole state is in the two Secrets, so a new process continues where
 * another was interrupted. The waiting time counts from when the bundle was stored.
 */
export class AuthorityRotation {
  readonly #spec: AuthoritySpec;

  constructor(spec: AuthoritySpec) {
    this.#spec = spec;
  }

  /**
   * Plans the rotation, and moves it to the next stage when it is time.
   *
   * @throws X509Error the Secret of the CA cannot be read. A new CA would cut off every agent, so a
   *   person must decide.
   */
  async plan() {
    const { now, paused } = this.#spec;
    const read = await this.#read();
    const begun = paused ? read : await this.#begin(read);
    const state = paused ? read : await this.#advance(begun);
    const stage = stageOf(state);
    const trustedSince = this.#trustedSince(state) ?? now;
    const wait = stage === 'steady' || paused ? undefined : this.#waitFor(state, trustedSince);
    return {
      stage,
      /** Undefined: the stage is `steady`, or the rotation is paused. */
      wait,
      /** Clusters for which the previous stage waited for a day, and which it then left behind. */
      skippedLaggards: stage === stageOf(begun) ? [] : this.#laggards(begun),
      /** The CA that signs. */
      signing: state.signing,
      /** PEM of all trusted CAs, the signing one first. */
      bundlePem: bundleOf(state, now),
      /** The time since which the bundle has been like this. */
      trustedSince,
      /** The Secret with the CA, for server-side apply. */
      secret: authoritySecret(state, this.#spec),
      lookAgainAt: this.#lookAgainAt(state, wait),
    };
  }

  async #read(): Promise<AuthorityState> {
    const { signer, now } = this.#spec;
    if (signer === undefined) return await this.#recover();
    const state = await readAuthorityState(signer);
    const isExpired = state.signing.certificate.notAfter <= now;
    return isExpired ? await this.#recover() : state;
  }

  /**
   * Makes a new CA at once when there is none. The CAs in the bundle stay trusted, because
   * certificates of the lost CA are in use.
   */
  async #recover(): Promise<AuthorityState> {
    const { bundle, signer } = this.#spec;
    const previous = await readBundle(textIn(bundle, 'ca.crt'));
    const isFirst = previous.length === 0;
    return {
      signing: await this.#makeAuthority(isFirst),
      next: undefined,
      previous,
      reason: isFirst ? undefined : 'recovery',
      rotatedFor: annotationOf(signer, annotations.rotateCa),
      reissuedSince: undefined,
    };
  }

  /** Each CA has its own name, because programs find the issuer of a certificate by name first. */
  async #makeAuthority(isFirst: boolean): Promise<Authority> {
    const { commonName, kind, now } = this.#spec;
    const suffix = isFirst ? '' : `@${Math.floor(now.getTime() / 1000)}`;
    return await makeAuthority(`${commonName}${suffix}`, kind, now);
  }

  /** Begins a rotation that is due, unless one is under way. */
  async #begin(state: AuthorityState): Promise<AuthorityState> {
    if (stageOf(state) !== 'steady') return state;
    const asked = annotationOf(this.#spec.signer, annotations.rotateCa);
    // A requested rotation begins again when its next CA was lost.
    const isAsked =
      (asked !== undefined && asked !== state.rotatedFor) || state.reason === 'requested';
    if (!isAsked && this.#spec.now < renewAt(state.signing.certificate)) return state;
    const reason = isAsked ? 'requested' : 'age';
    const next = await this.#makeAuthority(false);
    return { ...state, next, reason, rotatedFor: asked ?? state.rotatedFor };
  }

  /** Moves to the next stage when the current one has lasted long enough. */
  async #advance(state: AuthorityState): Promise<AuthorityState> {
    const { signing, next } = state;
    if (stageOf(state) === 'retiring') return await this.#retire(state);
    if (next === undefined || !this.#isOver(state)) return state;
    const previous = [signing.certificate, ...state.previous];
    return { ...state, signing: next, next: undefined, previous };
  }

  /**
   * Removes the previous CA when its certificates have been unused, and the new CA trusted, for
   * long enough.
   */
  async #retire(state: AuthorityState): Promise<AuthorityState> {
    const { certificate } = state.signing;
    const { leaves, now } = this.#spec;
    const areReissued = await Promise.all(leaves.map((leaf) => leaf.isIssuedBy(certificate)));
    if (areReissued.includes(false)) return { ...state, reissuedSince: undefined };
    const unused = { ...state, reissuedSince: state.reissuedSince ?? now };
    if (!this.#isOver(unused)) return unused;
    return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
  }

  /** Whether the stage has lasted long enough. */
  #isOver(state: AuthorityState): boolean {
    const trustedSince = this.#trustedSince(state);
    if (trustedSince === undefined) return false;
    const { until, atLatest, laggards } = this.#waitFor(state, trustedSince);
    return this.#spec.now >= (laggards.length > 0 ? atLatest : until);
  }

  /** The end of the current stage. */
  #waitFor(state: AuthorityState, trustedSince: Date): RotationWait {
    const { distributeMs, retireMs } = minimumWaits[state.reason === 'age' ? 'age' : 'requested'];
    const ownTimeMs = stageOf(state) === 'distributing' ? distributeMs : retireMs;
    const fromMs = Math.max(trustedSince.getTime(), state.reissuedSince?.getTime() ?? 0);
    const until = new Date(fromMs + ownTimeMs);
    const atLatest = new Date(until.getTime() + maxExtraWaitMs);
    return { until, atLatest, laggards: this.#laggards(state) };
  }

  #laggards(state: AuthorityState): readonly string[] {
    const { laggards, now } = this.#spec;
    const { signing } = state;
    return laggards[stageOf(state)]?.({ signing, bundlePem: bundleOf(state, now) }) ?? [];
  }

  /**
   * The time since which the stored bundle has been that of `state`. Undefined: it is another
   * bundle, or the time is not known.
   */
  #trustedSince(state: AuthorityState): Date | undefined {
    const { bundle, now } = this.#spec;
    const isStored = textIn(bundle, 'ca.crt') === bundleOf(state, now);
    return isStored ? timeIn(bundle, annotations.trustedSince) : undefined;
  }

  #lookAgainAt(state: AuthorityState, wait: RotationWait | undefined): Date {
    const { now, paused } = this.#spec;
    if (paused) return new Date(now.getTime() + hourMs);
    if (wait === undefined) return renewAt(state.signing.certificate);
    const soonMs = now.getTime() + laggardsIntervalMs;
    // The laggards may have followed by then.
    return new Date(wait.laggards.length > 0 ? soonMs : Math.max(wait.until.getTime(), soonMs));
  }
}
