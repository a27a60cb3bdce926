import { type Certificate, parseCertificates, X509Error } from '../../base/x509/index.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Authority, readAuthority } from './authority.ts';
import { annotationOf, annotations, makeSecret, textIn } from './secret.ts';

/**
 * How far the rotation of a CA is. `distributing`: the next one is trusted and signs nothing yet. `retiring`: it signs, and the
 * one before is still trusted. Who is one stage behind with either bundle or certificate is never refused.
 */
export type RotationStage = 'steady' | 'distributing' | 'retiring';

/** Why a rotation was begun. `recovery`: the CA's Secret was lost, and what it had signed is still around. */
export type RotationReason = 'requested' | 'age' | 'recovery';

/** What the Secret of a CA holds. */
export interface AuthorityState {
  readonly signing: Authority;
  readonly next: Authority | undefined;
  readonly previous: readonly Certificate[];
  readonly reason: RotationReason | undefined;
  readonly rotatedFor: string | undefined;
  /** Since when all leaves are of the signing CA. */
  readonly reissuedSince: Date | undefined;
}

export function stageOf({ next, previous }: AuthorityState): RotationStage {
  if (next !== undefined) return 'distributing';
  return previous.length > 0 ? 'retiring' : 'steady';
}

/** @throws X509Error the CA that signs cannot be read */
export async function readAuthorityState(signer: KubeObject): Promise<AuthorityState> {
  return {
    signing: await readAuthority(textIn(signer, 'ca.crt'), textIn(signer, 'ca.key')),
    next: await readNext(signer),
    previous: readBundle(textIn(signer, 'previous.crt')),
    reason: reasonIn(signer),
    rotatedFor: annotationOf(signer, annotations.rotatedFor),
    reissuedSince: timeIn(signer, annotations.reissuedSince),
  };
}

/** The Secret that holds `state`, for server-side apply. @param observed the one that is there */
export function authoritySecret(
  state: AuthorityState,
  { name, namespace }: { readonly name: string; readonly namespace: string },
  observed: KubeObject | undefined,
): KubeObject {
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
  const { resourceVersion } = observed?.metadata ?? {};
  const metadata = {
    name,
    namespace,
    // What was decided holds for what was seen, and for nothing newer.
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    annotations: stands,
  };
  return makeSecret(metadata, texts, observed);
}

/** PEM of all that is to be trusted. The same certificates in the same order give the same text: it tells whether the bundle is what it shall be. */
export function bundleOf({ signing, next, previous }: AuthorityState, now: Date): string {
  const others = [...(next === undefined ? [] : [next.certificate]), ...previous];
  const valid = others.filter(
    (certificate) => certificate.notAfter > now && !certificate.equals(signing.certificate),
  );
  return [signing.certificate, ...valid].map(({ pem }) => pem).join('');
}

/** Certificates in PEM; none where there is nothing that can be read. */
export function readBundle(pem: string | undefined): readonly Certificate[] {
  try {
    return pem === undefined ? [] : parseCertificates(pem);
  } catch (thrown) {
    if (thrown instanceof X509Error) return [];
    throw thrown;
  }
}

export function timeIn(secret: KubeObject | undefined, annotation: string): Date | undefined {
  const time = new Date(annotationOf(secret, annotation) ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time;
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

function reasonIn(signer: KubeObject): RotationReason | undefined {
  const reason = annotationOf(signer, annotations.rotationReason);
  return reason === 'age' || reason === 'requested' || reason === 'recovery' ? reason : undefined;
}
