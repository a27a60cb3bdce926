import { present } from '../api/fields.ts';
import { secret } from '../api/objects.ts';
import { type Certificate, parseCertificates } from '../../base/x509/index.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Authority, readable, readAuthority } from './authority.ts';
import { annotationOf, annotations, textIn } from './secret.ts';

/**
 * The stage of a CA's rotation. `distributing`: the next CA is trusted and signs nothing yet.
 * `retiring`: the new CA signs, and the previous one is still trusted. A program whose bundle or
 * certificate is one stage old is never refused.
 */
export type RotationStage = 'steady' | 'distributing' | 'retiring';

const reasons = ['requested', 'age', 'recovery'] as const;

/**
 * Why a rotation began. `recovery`: the Secret of the CA was lost, and certificates of that CA are
 * still in use.
 */
type RotationReason = (typeof reasons)[number];

/** The content of a CA's Secret. */
export interface AuthorityState {
  readonly signing: Authority;
  readonly next: Authority | undefined;
  readonly previous: readonly Certificate[];
  readonly reason: RotationReason | undefined;
  readonly rotatedFor: string | undefined;
  /** The time since which all leaf certificates are from the signing CA. */
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
    // A next CA that cannot be read has signed nothing, so another one is made.
    next: await readable(() =>
      readAuthority(textIn(signer, 'next.crt'), textIn(signer, 'next.key')),
    ),
    previous: await readBundle(textIn(signer, 'previous.crt')),
    reason: reasons.find((reason) => reason === annotationOf(signer, annotations.rotationReason)),
    rotatedFor: annotationOf(signer, annotations.rotatedFor),
    reissuedSince: timeIn(signer, annotations.reissuedSince),
  };
}

/** The Secret of a CA. `signer` is the live one. */
export interface SignerSecret {
  readonly namespace: string;
  readonly name: string;
  /**
   * From the API server. A cache may not have it yet, and then the CA would be replaced.
   */
  readonly signer: KubeObject | undefined;
}

/** The Secret with `state`, for server-side apply. */
export function authoritySecret(
  state: AuthorityState,
  { name, namespace, signer }: SignerSecret,
): KubeObject {
  const { signing, next, previous, reason, rotatedFor, reissuedSince } = state;
  const texts = {
    'ca.crt': signing.certPem,
    'ca.key': signing.keyPem,
    ...present({ 'next.crt': next?.certPem, 'next.key': next?.keyPem }),
    ...(previous.length > 0 && { 'previous.crt': previous.map(({ pem }) => pem).join('') }),
  };
  const { resourceVersion } = signer?.metadata ?? {};
  const metadata = {
    name,
    namespace,
    // The API server refuses the write when the Secret has changed since it was read.
    ...present({ resourceVersion }),
    annotations: present<Record<string, string | undefined>>({
      [annotations.rotatedFor]: rotatedFor,
      [annotations.rotationReason]: reason,
      [annotations.reissuedSince]: reissuedSince?.toISOString(),
    }) as Record<string, string>,
  };
  return secret(metadata, texts, signer?.['type']);
}

/** PEM of all trusted CAs. The same CAs give the same text, so texts of bundles can be compared. */
export function bundleOf({ signing, next, previous }: AuthorityState, now: Date): string {
  const others = [...(next === undefined ? [] : [next.certificate]), ...previous];
  const valid = others.filter(
    (certificate) => certificate.notAfter > now && !certificate.equals(signing.certificate),
  );
  return [signing.certificate, ...valid].map(({ pem }) => pem).join('');
}

/** The certificates in `pem`. Empty when it cannot be read. */
export async function readBundle(pem: string | undefined): Promise<readonly Certificate[]> {
  return (await readable(() => parseCertificates(pem ?? ''))) ?? [];
}

export function timeIn(secret: KubeObject | undefined, annotation: string): Date | undefined {
  const time = new Date(annotationOf(secret, annotation) ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time;
}
