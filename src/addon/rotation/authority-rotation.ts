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

export type AuthorityPlan = Readonly<Awaited<ReturnType<typeof planRotation>>>;

/**
 * Plans the rotation of a CA, and moves it to the next stage when it is time. Its whole state is in
 * the two Secrets, so a new process continues where another was interrupted. The waiting time
 * counts from when the bundle was stored.
 *
 * @throws X509Error the Secret of the CA cannot be read. A new CA would cut off every agent, so a
 *   person must decide.
 */
export async function planRotation(spec: AuthoritySpec) {
  const { now, paused } = spec;
  const read = await readState(spec);
  const begun = paused ? read : await begin(read, spec);
  const state = paused ? read : await advance(begun, spec);
  const stage = stageOf(state);
  const trustedSince = storedSince(state, spec) ?? now;
  const wait = stage === 'steady' || paused ? undefined : waitFor(state, trustedSince, spec);
  return {
    stage,
    /** Undefined: the stage is `steady`, or the rotation is paused. */
    wait,
    /** Clusters for which the previous stage waited for a day, and which it then left behind. */
    skippedLaggards: stage === stageOf(begun) ? [] : laggardsIn(begun, spec),
    /** The CA that signs. */
    signing: state.signing,
    /** PEM of all trusted CAs, the signing one first. */
    bundlePem: bundleOf(state, now),
    /** The time since which the bundle has been like this. */
    trustedSince,
    /** The Secret with the CA, for server-side apply. */
    secret: authoritySecret(state, spec),
    lookAgainAt: lookAgainAt(state, wait, spec),
  };
}

async function readState(spec: AuthoritySpec): Promise<AuthorityState> {
  const state = spec.signer && (await readAuthorityState(spec.signer));
  if (state === undefined) return await recover(spec);
  const { signing, next } = state;
  if (signing.certificate.notAfter > spec.now) return state;
  // The next CA may be trusted already. A new one is not.
  return next === undefined ? await recover(spec) : promoted(state, next);
}

/** The state in which `next` signs. */
function promoted(state: AuthorityState, next: Authority): AuthorityState {
  const previous = [state.signing.certificate, ...state.previous];
  return { ...state, signing: next, next: undefined, previous };
}

/**
 * Makes a new CA at once when there is none. The CAs in the bundle stay trusted, because
 * certificates of the lost CA are in use.
 */
async function recover(spec: AuthoritySpec): Promise<AuthorityState> {
  const previous = await readBundle(textIn(spec.bundle, 'ca.crt'));
  const isFirst = previous.length === 0;
  return {
    signing: await newAuthority(spec, isFirst),
    next: undefined,
    previous,
    reason: isFirst ? undefined : 'recovery',
    rotatedFor: annotationOf(spec.signer, annotations.rotateCa),
    reissuedSince: undefined,
  };
}

/** Each CA has its own name, because programs find the issuer of a certificate by name first. */
async function newAuthority({ commonName, kind, now }: AuthoritySpec, isFirst = false) {
  const suffix = isFirst ? '' : `@${Math.floor(now.getTime() / 1000)}`;
  return await makeAuthority(`${commonName}${suffix}`, kind, now);
}

/** Begins a rotation that is due, unless one is under way. */
async function begin(state: AuthorityState, spec: AuthoritySpec): Promise<AuthorityState> {
  if (stageOf(state) !== 'steady') return state;
  const asked = annotationOf(spec.signer, annotations.rotateCa);
  // A requested rotation begins again when its next CA was lost.
  const isAsked =
    (asked !== undefined && asked !== state.rotatedFor) || state.reason === 'requested';
  if (!isAsked && spec.now < renewAt(state.signing.certificate)) return state;
  const reason = isAsked ? 'requested' : 'age';
  const next = await newAuthority(spec);
  return { ...state, next, reason, rotatedFor: asked ?? state.rotatedFor };
}

/** Moves to the next stage when the current one has lasted long enough. */
async function advance(state: AuthorityState, spec: AuthoritySpec): Promise<AuthorityState> {
  if (stageOf(state) === 'retiring') return await retire(state, spec);
  const { next } = state;
  return next === undefined || !isOver(state, spec) ? state : promoted(state, next);
}

/**
 * Removes the previous CA when its certificates have been unused, and the new CA trusted, for
 * long enough.
 */
async function retire(state: AuthorityState, spec: AuthoritySpec): Promise<AuthorityState> {
  const { certificate } = state.signing;
  const areReissued = await Promise.all(spec.leaves.map((leaf) => leaf.isIssuedBy(certificate)));
  if (areReissued.includes(false)) return { ...state, reissuedSince: undefined };
  const unused = { ...state, reissuedSince: state.reissuedSince ?? spec.now };
  if (!isOver(unused, spec)) return unused;
  return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
}

/** Whether the stage has lasted long enough. */
function isOver(state: AuthorityState, spec: AuthoritySpec): boolean {
  const trustedSince = storedSince(state, spec);
  if (trustedSince === undefined) return false;
  const { until, atLatest, laggards } = waitFor(state, trustedSince, spec);
  return spec.now >= (laggards.length > 0 ? atLatest : until);
}

/** The end of the current stage. */
function waitFor(state: AuthorityState, trustedSince: Date, spec: AuthoritySpec) {
  const { distributeMs, retireMs } = minimumWaits[state.reason === 'age' ? 'age' : 'requested'];
  const isDistributing = stageOf(state) === 'distributing';
  const fromMs = Math.max(trustedSince.getTime(), state.reissuedSince?.getTime() ?? 0);
  // The next CA must sign before the current one expires.
  const leftMs = isDistributing ? state.signing.certificate.notAfter.getTime() - fromMs : Infinity;
  const ownTimeMs = Math.min(isDistributing ? distributeMs : retireMs, leftMs / 2);
  const until = new Date(fromMs + ownTimeMs);
  const atLatest = new Date(until.getTime() + Math.min(maxExtraWaitMs, leftMs / 4));
  /** `until` is the end of its own time. It ends `atLatest` even if laggards are left. */
  return { until, atLatest, laggards: laggardsIn(state, spec) };
}

function laggardsIn(state: AuthorityState, { laggards, now }: AuthoritySpec): readonly string[] {
  const { signing } = state;
  return laggards[stageOf(state)]?.({ signing, bundlePem: bundleOf(state, now) }) ?? [];
}

/**
 * The time since which the stored bundle has been that of `state`. Undefined: it is another
 * bundle, or the time is not known.
 */
function storedSince(state: AuthorityState, { bundle, now }: AuthoritySpec): Date | undefined {
  const isStored = textIn(bundle, 'ca.crt') === bundleOf(state, now);
  return isStored ? timeIn(bundle, annotations.trustedSince) : undefined;
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
