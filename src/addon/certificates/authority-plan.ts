import { type Certificate, parseCertificates, X509Error } from '../../base/x509.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import { type Authority, type AuthorityKind, makeAuthority, readAuthority } from './authority.ts';
import { dayMs, hourMs, renewAt } from './lifetimes.ts';
import { annotationOf, annotations, makeSecret, textIn } from './secret.ts';

/**
 * How far the rotation of a CA is. `distributing`: the next one is trusted and signs nothing yet. `retiring`: it signs, and the
 * one before is still trusted. Who is one stage behind with either bundle or certificate is never refused.
 */
export type RotationStage = 'steady' | 'distributing' | 'retiring';

/** Why a rotation was begun. `recovery`: the CA's Secret was lost, and what it had signed is still around. */
type RotationReason = 'requested' | 'age' | 'recovery';

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

/** How soon to look again whether a stage is still held back, in milliseconds. */
const lookAgainMs = 60_000;

export interface AuthorityWish {
  readonly namespace: string;
  readonly name: string;
  readonly commonName: string;
  readonly kind: AuthorityKind;
  readonly now: Date;
  readonly waits: Readonly<Record<'requested' | 'age', RotationWaits>>;
  /** Somebody is known not to have followed yet: the stage goes on, for a day at most. */
  readonly heldBack: boolean;
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

interface State {
  readonly signing: Authority;
  readonly next: Authority | undefined;
  readonly previous: readonly Certificate[];
  readonly reason: RotationReason | undefined;
  readonly rotatedFor: string | undefined;
  /** Since when all leaves are of the signing CA. */
  readonly reissuedSince: Date | undefined;
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
  const begun = await begin(read, observed, wish);
  const state = await advance(begun, observed, wish);
  const bundlePem = bundleOf(state, wish.now);
  const trustedSince = sinceWhen(observed.bundle, bundlePem) ?? wish.now;
  return {
    stage: stageOf(state),
    signing: state.signing,
    bundlePem,
    trustedSince,
    secret: secretOf(state, observed, wish),
    lookAgainAt: lookAgainAt(state, trustedSince, wish),
  };
}

async function readState(observed: ObservedAuthority, wish: AuthorityWish): Promise<State> {
  const { signer } = observed;
  if (signer === undefined) return await recover(observed, wish);
  const signing = await readAuthority(textIn(signer, 'ca.crt'), textIn(signer, 'ca.key'));
  if (signing.certificate.notAfter <= wish.now) return await recover(observed, wish);
  return {
    signing,
    next: await readNext(signer),
    previous: readBundle(textIn(signer, 'previous.crt')),
    reason: reasonIn(signer),
    rotatedFor: annotationOf(signer, annotations.rotatedFor),
    reissuedSince: timeIn(signer, annotations.reissuedSince),
  };
}

/** Without a CA there must be a new one at once. What the bundle trusts stays trusted: certificates of the lost CA are in use. */
async function recover({ bundle, signer }: ObservedAuthority, wish: AuthorityWish): Promise<State> {
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
  state: State,
  { signer }: ObservedAuthority,
  wish: AuthorityWish,
): Promise<State> {
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
  state: State,
  observed: ObservedAuthority,
  wish: AuthorityWish,
): Promise<State> {
  const stage = stageOf(state);
  if (stage === 'steady') return state;
  if (stage === 'retiring') return await retire(state, observed, wish);
  const since = sinceWhen(observed.bundle, bundleOf(state, wish.now));
  if (!isOver(since, state, wish)) return state;
  const previous = [state.signing.certificate, ...state.previous];
  return { ...state, signing: state.next!, next: undefined, previous };
}

/** The CA before goes when nothing of it has been shown for long enough, and its successor has been trusted as long. */
async function retire(
  state: State,
  { bundle, leaves }: ObservedAuthority,
  wish: AuthorityWish,
): Promise<State> {
  const { certificate } = state.signing;
  const areReissued = await Promise.all(leaves.map((leaf) => leaf.isIssuedBy(certificate)));
  if (areReissued.includes(false)) return { ...state, reissuedSince: undefined };
  const reissuedSince = state.reissuedSince ?? wish.now;
  const trustedSince = sinceWhen(bundle, bundleOf(state, wish.now));
  const isDone = [trustedSince, reissuedSince].every((since) => isOver(since, state, wish));
  if (!isDone) return { ...state, reissuedSince };
  return { ...state, previous: [], reason: undefined, reissuedSince: undefined };
}

function isOver(since: Date | undefined, state: State, wish: AuthorityWish): boolean {
  if (since === undefined) return false;
  const lastedMs = wish.now.getTime() - since.getTime();
  return lastedMs >= waitOf(state, wish) + (wish.heldBack ? maxHeldBackMs : 0);
}

function stageOf({ next, previous }: State): RotationStage {
  if (next !== undefined) return 'distributing';
  return previous.length > 0 ? 'retiring' : 'steady';
}

function waitOf(state: State, { waits }: AuthorityWish): number {
  const { distributeMs, retireMs } = waits[state.reason === 'age' ? 'age' : 'requested'];
  return stageOf(state) === 'distributing' ? distributeMs : retireMs;
}

/** The same certificates in the same order give the same text: it tells whether the bundle is what it shall be. */
function bundleOf({ signing, next, previous }: State, now: Date): string {
  const others = [...(next === undefined ? [] : [next.certificate]), ...previous];
  const valid = others.filter(
    (certificate) => certificate.notAfter > now && !certificate.equals(signing.certificate),
  );
  return [signing.certificate, ...valid].map(({ pem }) => pem).join('');
}

/** Since when the bundle that is there holds `pem`; undefined where it does not, or nobody knows. */
function sinceWhen(bundle: KubeObject | undefined, pem: string): Date | undefined {
  if (textIn(bundle, 'ca.crt') !== pem) return undefined;
  return timeIn(bundle, annotations.trustedSince);
}

function timeIn(secret: KubeObject | undefined, annotation: string): Date | undefined {
  const time = new Date(annotationOf(secret, annotation) ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

function lookAgainAt(state: State, since: Date, wish: AuthorityWish): Date {
  if (stageOf(state) === 'steady') return renewAt(state.signing.certificate);
  const fromMs = Math.max(since.getTime(), state.reissuedSince?.getTime() ?? 0);
  const atMs = fromMs + waitOf(state, wish);
  return new Date(Math.max(atMs, wish.now.getTime() + lookAgainMs));
}

function secretOf(state: State, { signer }: ObservedAuthority, wish: AuthorityWish): KubeObject {
  const { signing, next, previous, reason, rotatedFor, reissuedSince } = state;
  const stands = {
    ...(rotatedFor === undefined ? {} : { [annotations.rotatedFor]: rotatedFor }),
    ...(reason === undefined ? {} : { [annotations.rotationReason]: reason }),
    ...(reissuedSince === undefined
      ? {}
      : { [annotations.reissuedSince]: reissuedSince.toISOString() }),
  };
  const texts = {
    'ca.crt': signing.certPem,
    'ca.key': signing.keyPem,
    ...(next === undefined ? {} : { 'next.crt': next.certPem, 'next.key': next.keyPem }),
    ...(previous.length === 0 ? {} : { 'previous.crt': previous.map(({ pem }) => pem).join('') }),
  };
  const { name, namespace } = wish;
  const { resourceVersion } = signer?.metadata ?? {};
  const metadata = {
    name,
    namespace,
    // What was decided holds for what was seen, and for nothing newer.
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    annotations: stands,
  };
  return makeSecret(metadata, texts, signer);
}

/** One that cannot be read is as if it were not there: it has signed nothing, so another is made. */
async function readNext(signer: KubeObject): Promise<Authority | undefined> {
  try {
    return await readAuthority(textIn(signer, 'next.crt'), textIn(signer, 'next.key'));
  } catch (thrown) {
    if (thrown instanceof X509Error) return undefined;
    throw thrown;
  }
}

function readBundle(pem: string | undefined): readonly Certificate[] {
  try {
    return pem === undefined ? [] : parseCertificates(pem);
  } catch (thrown) {
    if (thrown instanceof X509Error) return [];
    throw thrown;
  }
}

function reasonIn(signer: KubeObject): RotationReason | undefined {
  const reason = annotationOf(signer, annotations.rotationReason);
  return reason === 'age' || reason === 'requested' || reason === 'recovery' ? reason : undefined;
}

/** Programs look for the issuer of a certificate by name first: two CAs of one name in a bundle would lead some astray. */
function nameOfNext({ commonName, now }: AuthorityWish, isFirst: boolean): string {
  return isFirst ? commonName : `${commonName}@${Math.floor(now.getTime() / 1000)}`;
}
