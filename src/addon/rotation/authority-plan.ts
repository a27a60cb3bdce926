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

/** How long a stage lasts at least, in milliseconds, so that everybody has loaded what changed with it. */
export interface RotationWaits {
  readonly distributeMs: number;
  readonly retireMs: number;
}

/**
 * Who asks for a rotation wants it done; one by age has years, and waits for those who keep copies of a bundle or a client's
 * certificate elsewhere.
 */
export const defaultWaits: Readonly<Record<'requested' | 'age', RotationWaits>> = {
  requested: { distributeMs: 10 * 60_000, retireMs: hourMs },
  age: { distributeMs: 30 * dayMs, retireMs: 180 * dayMs },
};

/** The longest that a stage is held back for those who have not followed, beyond its own time, in milliseconds. */
const maxHeldBackMs = dayMs;

/** How soon to look again who has followed, in milliseconds. */
const lookAgainMs = 60_000;

/** Names of the managed clusters that have not followed a stage, seen what signs and what is to be trusted in it. */
export type FindLaggards = (
  now: Readonly<Pick<AuthorityPlan, 'signing' | 'bundlePem'>>,
) => readonly string[];

export interface AuthoritySpec {
  readonly namespace: string;
  readonly name: string;
  readonly commonName: string;
  readonly kind: AuthorityKind;
  readonly now: Date;
  readonly waits: Readonly<Record<'requested' | 'age', RotationWaits>>;
  /** A rotation stays where it is, and none is begun: those who would have to follow cannot be told. */
  readonly paused: boolean;
  /** Who is asked for in which stage: it goes on while there is one, for a day at most. Not called in other stages. */
  readonly laggards: Partial<Record<RotationStage, FindLaggards>>;
}

export interface ObservedAuthority {
  /** The Secret with the CA, asked for and not from a cache: one that is only not known yet would be replaced. */
  readonly signer: KubeObject | undefined;
  /** The Secret with the bundle that others trust, under `ca.crt`. */
  readonly bundle: KubeObject | undefined;
  /** What it has signed, as far as it is known here. */
  readonly leaves: readonly Certificate[];
}

export interface AuthorityPlan {
  readonly stage: RotationStage;
  /** Undefined: no stage lasts, or it stands still. */
  readonly wait: RotationWait | undefined;
  /** Clusters for which the stage before has been held back for a day, and which it did not wait for any longer. */
  readonly skippedLaggards: readonly string[];
  /** Signs from now on. */
  readonly signing: Authority;
  /** PEM of all that is to be trusted, the signing one first. */
  readonly bundlePem: string;
  /** Since when the bundle holds that. */
  readonly trustedSince: Date;
  /** What the Secret with the CA shall be. */
  readonly secret: KubeObject;
  readonly lookAgainAt: Date;
}

/** How long the stage that lasts will last. */
export interface RotationWait {
  /** When its own time is over. */
  readonly until: Date;
  /** When the stage ends even if laggards are left. */
  readonly atLatest: Date;
  /** Names of clusters. */
  readonly laggards: readonly string[];
}

/**
 * Where the rotation of a CA stands, and one step further where it is time. All that it knows is in the two Secrets, so whoever
 * was interrupted goes on where he was; the waiting counts from when the bundle was really there.
 *
 * @throws X509Error the CA's Secret is there and cannot be read: replacing it would cut everybody off, so a person decides
 */
export async function planAuthority(
  observed: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityPlan> {
  const read = await readState(observed, spec);
  const begun = spec.paused ? read : await begin(read, observed, spec);
  const state = spec.paused ? read : await advance(begun, observed, spec);
  const bundlePem = bundleOf(state, spec.now);
  const trustedSince = sinceWhen(observed.bundle, bundlePem) ?? spec.now;
  const wait = waitFor(state, trustedSince, spec);
  return {
    stage: stageOf(state),
    wait,
    skippedLaggards: stageOf(state) === stageOf(begun) ? [] : laggardsOf(begun, spec),
    signing: state.signing,
    bundlePem,
    trustedSince,
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

/** Without a CA there must be a new one at once. What the bundle trusts stays trusted: certificates of the lost CA are in use. */
async function recover(
  { bundle, signer }: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const previous = readBundle(textIn(bundle, 'ca.crt'));
  return {
    signing: await makeAuthority(nameOfNext(spec, previous.length === 0), spec.kind, spec.now),
    next: undefined,
    previous,
    reason: previous.length === 0 ? undefined : 'recovery',
    rotatedFor: annotationOf(signer, annotations.rotateCa),
    reissuedSince: undefined,
  };
}

/** Begins a rotation where one is due and none is under way. */
async function begin(
  state: AuthorityState,
  { signer }: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  if (stageOf(state) !== 'steady') return state;
  const asked = annotationOf(signer, annotations.rotateCa);
  // One that was begun and whose next CA was lost since is begun again.
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

/** One step, where the stage has lasted long enough. */
async function advance(
  state: AuthorityState,
  observed: ObservedAuthority,
  spec: AuthoritySpec,
): Promise<AuthorityState> {
  const stage = stageOf(state);
  if (stage === 'steady') return state;
  if (stage === 'retiring') return await retire(state, observed, spec);
  const since = sinceWhen(observed.bundle, bundleOf(state, spec.now));
  if (!isOver([since], state, spec)) return state;
  const previous = [state.signing.certificate, ...state.previous];
  return { ...state, signing: state.next!, next: undefined, previous };
}

/** The CA before goes when nothing of it has been shown for long enough, and its successor has been trusted as long. */
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
  if (!isOver([trustedSince, reissuedSince], state, spec)) return { ...state, reissuedSince };
  return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
}

/** Whether the stage has lasted long enough since each of these moments; undefined: it has not begun. */
function isOver(
  since: readonly (Date | undefined)[],
  state: AuthorityState,
  spec: AuthoritySpec,
): boolean {
  const heldBackMs = laggardsOf(state, spec).length > 0 ? maxHeldBackMs : 0;
  const neededMs = ownTimeMs(state, spec) + heldBackMs;
  return since.every(
    (moment) => moment !== undefined && spec.now.getTime() - moment.getTime() >= neededMs,
  );
}

function laggardsOf(state: AuthorityState, { laggards, now }: AuthoritySpec): readonly string[] {
  const { signing } = state;
  return laggards[stageOf(state)]?.({ signing, bundlePem: bundleOf(state, now) }) ?? [];
}

function ownTimeMs(state: AuthorityState, { waits }: AuthoritySpec): number {
  const { distributeMs, retireMs } = waits[state.reason === 'age' ? 'age' : 'requested'];
  return stageOf(state) === 'distributing' ? distributeMs : retireMs;
}

/** Since when the bundle that is there holds `pem`; undefined where it does not, or nobody knows. */
function sinceWhen(bundle: KubeObject | undefined, pem: string): Date | undefined {
  if (textIn(bundle, 'ca.crt') !== pem) return undefined;
  return timeIn(bundle, annotations.trustedSince);
}

function waitFor(
  state: AuthorityState,
  trustedSince: Date,
  spec: AuthoritySpec,
): RotationWait | undefined {
  if (stageOf(state) === 'steady' || spec.paused) return undefined;
  const fromMs = Math.max(trustedSince.getTime(), state.reissuedSince?.getTime() ?? 0);
  const untilMs = fromMs + ownTimeMs(state, spec);
  return {
    until: new Date(untilMs),
    atLatest: new Date(untilMs + maxHeldBackMs),
    laggards: laggardsOf(state, spec),
  };
}

function lookAgainAt(
  state: AuthorityState,
  wait: RotationWait | undefined,
  { now, paused }: AuthoritySpec,
): Date {
  if (paused) return new Date(now.getTime() + hourMs);
  if (wait === undefined) return renewAt(state.signing.certificate);
  const soonMs = now.getTime() + lookAgainMs;
  // The laggards may have followed by then.
  return new Date(wait.laggards.length > 0 ? soonMs : Math.max(wait.until.getTime(), soonMs));
}

/** Programs look for the issuer of a certificate by name first: two CAs of one name in a bundle would lead some astray. */
function nameOfNext({ commonName, now }: AuthoritySpec, isFirst: boolean): string {
  return isFirst ? commonName : `${commonName}@${Math.floor(now.getTime() / 1000)}`;
}
