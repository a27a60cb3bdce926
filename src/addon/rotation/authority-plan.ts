import type { Certificate } from '../../base/x509/index.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import {
  authoritySecret,
  type AuthorityState,
  bundleOf,
  readAuthorityState,
  readBundle,
  type RotationStage,
  stageOf,
  timeIn,
} from './authority-state.ts';
import { type Authority, type AuthorityKind, makeAuthority } from './authority.ts';
import { dayMs, hourMs, renewAt } from './lifetimes.ts';
import { annotationOf, annotations, textIn } from './secret.ts';

/**
 * The minimum time of a stage, in milliseconds. In it every program loads the files that changed.
 */
export interface RotationWaits {
  readonly distributeMs: number;
  readonly retireMs: number;
}

/**
 * A requested rotation is fast. A rotation by age has years, and waits for people who keep copies
 * of a bundle or of a client's certificate elsewhere.
 */
export const defaultWaits: Readonly<Record<'requested' | 'age', RotationWaits>> = {
  requested: { distributeMs: 10 * 60_000, retireMs: hourMs },
  age: { distributeMs: 30 * dayMs, retireMs: 180 * dayMs },
};

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

export interface AuthoritySpec {
  readonly namespace: string;
  readonly name: string;
  readonly commonName: string;
  readonly kind: AuthorityKind;
  readonly now: Date;
  readonly waits: Readonly<Record<'requested' | 'age', RotationWaits>>;
  /** No rotation begins or continues, because clusters cannot learn of it. */
  readonly paused: boolean;
  /** The clusters for which each stage waits, for a day at most. */
  readonly laggards: Partial<Record<RotationStage, FindLaggards>>;
}

export interface ObservedAuthority {
  /**
   * The Secret with the CA, from the API server. A cache may not have it yet, and then the CA would
   * be replaced.
   */
  readonly signer: KubeObject | undefined;
  /** The Secret with the bundle that others trust, under `ca.crt`. */
  readonly bundle: KubeObject | undefined;
  /** The certificates that the CA has signed, as far as they are on the hub. */
  readonly leaves: readonly Certificate[];
}

export type AuthorityPlan = Readonly<Awaited<ReturnType<typeof planAuthority>>>;

/**
 * Plans the rotation of a CA, and moves it to the next stage when it is time. Its whole state is in
 * the two Secrets, so a new process continues where another was interrupted. The waiting time
 * counts from when the bundle was stored.
 *
 * @throws X509Error the Secret of the CA cannot be read. A new CA would cut off every agent, so a
 *   person must decide.
 */
export async function planAuthority(observed: ObservedAuthority, spec: AuthoritySpec) {
  const read = await readState(observed, spec);
  const begun = spec.paused ? read : await begin(read, observed, spec);
  const state = spec.paused ? read : await advance(begun, observed, spec);
  const stage = stageOf(state);
  const bundlePem = bundleOf(state, spec.now);
  const trustedSince = sinceWhen(observed.bundle, bundlePem) ?? spec.now;
  const isWaiting = stage !== 'steady' && !spec.paused;
  const wait = isWaiting ? waitFor(state, spec, trustedSince, state.reissuedSince) : undefined;
  return {
    stage,
    /** Undefined: the stage is `steady`, or the rotation is paused. */
    wait,
    /** Clusters for which the previous stage waited for a day, and which it then left behind. */
    skippedLaggards: stage === stageOf(begun) ? [] : laggardsOf(begun, spec),
    /** The CA that signs. */
    signing: state.signing,
    /** PEM of all trusted CAs, the signing one first. */
    bundlePem,
    /** The time since which the bundle has been like this. */
    trustedSince,
    /** The Secret with the CA, for server-side apply. */
    secret: authoritySecret(state, spec, observed.signer),
    lookAgainAt: lookAgainAt(state, wait, spec),
  };
}

async function readState(
  observed: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const { signer } = observed;
  if (signer === undefined) return await recover(observed, spec);
  const state = await readAuthorityState(signer);
  return state.signing.certificate.notAfter > spec.now ? state : await recover(observed, spec);
}

/**
 * Makes a new CA at once when there is none. The CAs in the bundle stay trusted, because
 * certificates of the lost CA are in use.
 */
async function recover(
  { bundle, signer }: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const previous = await readBundle(textIn(bundle, 'ca.crt'));
  return {
    signing: await makeAuthority(nameOfNext(spec, previous.length === 0), spec.kind, spec.now),
    next: undefined,
    previous,
    reason: previous.length === 0 ? undefined : 'recovery',
    rotatedFor: annotationOf(signer, annotations.rotateCa),
    reissuedSince: undefined,
  };
}

/** Begins a rotation that is due, unless one is under way. */
async function begin(
  state: AuthorityState,
  { signer }: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  if (stageOf(state) !== 'steady') return state;
  const asked = annotationOf(signer, annotations.rotateCa);
  // A requested rotation begins again when its next CA was lost.
  const isAsked =
    (asked !== undefined && asked !== state.rotatedFor) || state.reason === 'requested';
  if (!isAsked && spec.now < renewAt(state.signing.certificate)) return state;
  return {
    ...state,
    next: await makeAuthority(nameOfNext(spec, false), spec.kind, spec.now),
    reason: isAsked ? 'requested' : 'age',
    rotatedFor: asked ?? state.rotatedFor,
  };
}

/** Moves to the next stage when the current one has lasted long enough. */
async function advance(
  state: AuthorityState,
  observed: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const stage = stageOf(state);
  if (stage === 'steady') return state;
  if (stage === 'retiring') return await retire(state, observed, spec);
  const since = sinceWhen(observed.bundle, bundleOf(state, spec.now));
  if (!isOver(state, spec, since)) return state;
  const previous = [state.signing.certificate, ...state.previous];
  return { ...state, signing: state.next!, next: undefined, previous };
}

/**
 * Removes the previous CA when its certificates have been unused, and the new CA trusted, for long
 * enough.
 */
async function retire(
  state: AuthorityState,
  { bundle, leaves }: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const { certificate } = state.signing;
  const areReissued = await Promise.all(leaves.map((leaf) => leaf.isIssuedBy(certificate)));
  if (areReissued.includes(false)) return { ...state, reissuedSince: undefined };
  const reissuedSince = state.reissuedSince ?? spec.now;
  const trustedSince = sinceWhen(bundle, bundleOf(state, spec.now));
  if (!isOver(state, spec, trustedSince, reissuedSince)) return { ...state, reissuedSince };
  return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
}

/**
 * Whether the stage has lasted long enough. Undefined: it is not known since when the bundle has
 * been trusted.
 */
function isOver(
  state: AuthorityState,
  spec: AuthoritySpec,
  trustedSince: Date | undefined,
  reissuedSince?: Date,
): boolean {
  if (trustedSince === undefined) return false;
  const { until, atLatest, laggards } = waitFor(state, spec, trustedSince, reissuedSince);
  return spec.now >= (laggards.length > 0 ? atLatest : until);
}

/** The end of the current stage. */
function waitFor(
  state: AuthorityState,
  spec: AuthoritySpec,
  trustedSince: Date,
  reissuedSince: Date | undefined,
) {
  const { distributeMs, retireMs } = spec.waits[state.reason === 'age' ? 'age' : 'requested'];
  const ownTimeMs = stageOf(state) === 'distributing' ? distributeMs : retireMs;
  const fromMs = Math.max(trustedSince.getTime(), reissuedSince?.getTime() ?? 0);
  return {
    /** The end of its own time. */
    until: new Date(fromMs + ownTimeMs),
    /** When the stage ends even if laggards are left. */
    atLatest: new Date(fromMs + ownTimeMs + maxExtraWaitMs),
    /** Names of clusters. */
    laggards: laggardsOf(state, spec),
  };
}

function laggardsOf(state: AuthorityState, { laggards, now }: AuthoritySpec): readonly string[] {
  const { signing } = state;
  return laggards[stageOf(state)]?.({ signing, bundlePem: bundleOf(state, now) }) ?? [];
}

/**
 * The time since which the stored bundle has been `pem`. Undefined: it is another bundle, or the
 * time is not known.
 */
function sinceWhen(bundle: KubeObject | undefined, pem: string): Date | undefined {
  if (textIn(bundle, 'ca.crt') !== pem) return undefined;
  return timeIn(bundle, annotations.trustedSince);
}

function lookAgainAt(
  state: AuthorityState,
  wait: ReturnType<typeof waitFor> | undefined,
  { now, paused }: AuthoritySpec,
): Date {
  if (paused) return new Date(now.getTime() + hourMs);
  if (wait === undefined) return renewAt(state.signing.certificate);
  const soonMs = now.getTime() + laggardsIntervalMs;
  // The laggards may have followed by then.
  return new Date(wait.laggards.length > 0 ? soonMs : Math.max(wait.until.getTime(), soonMs));
}

/** Each CA has its own name, because programs find the issuer of a certificate by name first. */
function nameOfNext({ commonName, now }: AuthoritySpec, isFirst: boolean): string {
  return isFirst ? commonName : `${commonName}@${Math.floor(now.getTime() / 1000)}`;
}
