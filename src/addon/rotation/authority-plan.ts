import type { Certificate } from '../../base/x509.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
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
export type ClustersBehind = (
  now: Readonly<Pick<AuthorityPlan, 'signing' | 'bundlePem'>>,
) => readonly string[];

export interface AuthorityWish {
  readonly namespace: string;
  readonly name: string;
  readonly commonName: string;
  readonly kind: AuthorityKind;
  readonly now: Date;
  readonly waits: Readonly<Record<'requested' | 'age', RotationWaits>>;
  /** A rotation stays where it is, and none is begun: those who would have to follow cannot be told. */
  readonly standsStill: boolean;
  /** Who is asked for in which stage: it goes on while there is one, for a day at most. Not called in other stages. */
  readonly behind: Partial<Record<RotationStage, ClustersBehind>>;
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
  readonly leftBehind: readonly string[];
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
  /** When it ends though clusters are behind. */
  readonly atLatest: Date;
  /** Names of clusters. */
  readonly behind: readonly string[];
}

/**
 * Where the rotation of a CA stands, and one step further where it is time. All that it knows is in the two Secrets, so whoever
 * was interrupted goes on where he was; the waiting counts from when the bundle was really there.
 *
 * @throws X509Error the CA's Secret is there and cannot be read: replacing it would cut everybody off, so a person decides
 */
export async function planAuthority(
  observed: ObservedAuthority,
  wish: AuthorityWish,
): Promise<AuthorityPlan> {
  const read = await readState(observed, wish);
  const begun = wish.standsStill ? read : await begin(read, observed, wish);
  const state = wish.standsStill ? read : await advance(begun, observed, wish);
  const bundlePem = bundleOf(state, wish.now);
  const trustedSince = sinceWhen(observed.bundle, bundlePem) ?? wish.now;
  const wait = waitFor(state, trustedSince, wish);
  return {
    stage: stageOf(state),
    wait,
    leftBehind: stageOf(state) === stageOf(begun) ? [] : clustersBehind(begun, wish),
    signing: state.signing,
    bundlePem,
    trustedSince,
    secret: authoritySecret(state, wish, observed.signer),
    lookAgainAt: lookAgainAt(state, wait, wish),
  };
}

async function readState(
  observed: ObservedAuthority,
  wish: AuthorityWish,
): Promise<AuthorityState> {
  const { signer } = observed;
  if (signer === undefined) return await recover(observed, wish);
  const state = await readAuthorityState(signer);
  return state.signing.certificate.notAfter > wish.now ? state : await recover(observed, wish);
}

/** Without a CA there must be a new one at once. What the bundle trusts stays trusted: certificates of the lost CA are in use. */
async function recover(
  { bundle, signer }: ObservedAuthority,
  wish: AuthorityWish,
): Promise<AuthorityState> {
  const previous = readBundle(textIn(bundle, 'ca.crt'));
  return {
    signing: await makeAuthority(nameOfNext(wish, previous.length === 0), wish.kind, wish.now),
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
  wish: AuthorityWish,
): Promise<AuthorityState> {
  if (stageOf(state) !== 'steady') return state;
  const asked = annotationOf(signer, annotations.rotateCa);
  // One that was begun and whose next CA was lost since is begun again.
  const isAsked =
    (asked !== undefined && asked !== state.rotatedFor) || state.reason === 'requested';
  if (!isAsked && wish.now < renewAt(state.signing.certificate)) return state;
  return {
    ...state,
    next: await makeAuthority(nameOfNext(wish, false), wish.kind, wish.now),
    reason: isAsked ? 'requested' : 'age',
    rotatedFor: asked ?? state.rotatedFor,
  };
}

/** One step, where the stage has lasted long enough. */
async function advance(
  state: AuthorityState,
  observed: ObservedAuthority,
  wish: AuthorityWish,
): Promise<AuthorityState> {
  const stage = stageOf(state);
  if (stage === 'steady') return state;
  if (stage === 'retiring') return await retire(state, observed, wish);
  const since = sinceWhen(observed.bundle, bundleOf(state, wish.now));
  if (!isOver([since], state, wish)) return state;
  const previous = [state.signing.certificate, ...state.previous];
  return { ...state, signing: state.next!, next: undefined, previous };
}

/** The CA before goes when nothing of it has been shown for long enough, and its successor has been trusted as long. */
async function retire(
  state: AuthorityState,
  { bundle, leaves }: ObservedAuthority,
  wish: AuthorityWish,
): Promise<AuthorityState> {
  const { certificate } = state.signing;
  const areReissued = await Promise.all(leaves.map((leaf) => leaf.isIssuedBy(certificate)));
  if (areReissued.includes(false)) return { ...state, reissuedSince: undefined };
  const reissuedSince = state.reissuedSince ?? wish.now;
  const trustedSince = sinceWhen(bundle, bundleOf(state, wish.now));
  if (!isOver([trustedSince, reissuedSince], state, wish)) return { ...state, reissuedSince };
  return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
}

/** Whether the stage has lasted long enough since each of these moments; undefined: it has not begun. */
function isOver(
  since: readonly (Date | undefined)[],
  state: AuthorityState,
  wish: AuthorityWish,
): boolean {
  const heldBackMs = clustersBehind(state, wish).length > 0 ? maxHeldBackMs : 0;
  const neededMs = ownTimeMs(state, wish) + heldBackMs;
  return since.every(
    (moment) => moment !== undefined && wish.now.getTime() - moment.getTime() >= neededMs,
  );
}

function clustersBehind(state: AuthorityState, { behind, now }: AuthorityWish): readonly string[] {
  const { signing } = state;
  return behind[stageOf(state)]?.({ signing, bundlePem: bundleOf(state, now) }) ?? [];
}

function ownTimeMs(state: AuthorityState, { waits }: AuthorityWish): number {
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
  wish: AuthorityWish,
): RotationWait | undefined {
  if (stageOf(state) === 'steady' || wish.standsStill) return undefined;
  const fromMs = Math.max(trustedSince.getTime(), state.reissuedSince?.getTime() ?? 0);
  const untilMs = fromMs + ownTimeMs(state, wish);
  return {
    until: new Date(untilMs),
    atLatest: new Date(untilMs + maxHeldBackMs),
    behind: clustersBehind(state, wish),
  };
}

function lookAgainAt(
  state: AuthorityState,
  wait: RotationWait | undefined,
  { now, standsStill }: AuthorityWish,
): Date {
  if (standsStill) return new Date(now.getTime() + hourMs);
  if (wait === undefined) return renewAt(state.signing.certificate);
  const soonMs = now.getTime() + lookAgainMs;
  // Whoever is behind now may have followed by then.
  return new Date(wait.behind.length > 0 ? soonMs : Math.max(wait.until.getTime(), soonMs));
}

/** Programs look for the issuer of a certificate by name first: two CAs of one name in a bundle would lead some astray. */
function nameOfNext({ commonName, now }: AuthorityWish, isFirst: boolean): string {
  return isFirst ? commonName : `${commonName}@${Math.floor(now.getTime() / 1000)}`;
}
