import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Condition, isTrue, parseConditions } from './condition.ts';
import { fields, integer, text, texts } from './fields.ts';

/** The fields of a CertificateSigningRequest that the addon uses. */
export interface CertificateSigningRequest {
  readonly name: string;
  /** In milliseconds since 1970. NaN: not stored yet. */
  readonly createdAtMs: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly signer: string;
  /** The creator of the request. The API server sets it. */
  readonly requester: { readonly user: string; readonly groups: readonly string[] };
  readonly usages: readonly string[];
  /** The request in PEM (PKCS#10). Its content is not verified. */
  readonly pem: string;
  /** The requested lifetime. Undefined: the signer decides. */
  readonly expirationSeconds: number | undefined;
  readonly conditions: readonly Condition[];
  /** Approved, and neither denied nor failed. */
  readonly isApproved: boolean;
  /** The signed certificate in PEM. Undefined: none yet. */
  readonly certificate: string | undefined;
}

export function parseCertificateSigningRequest(object: KubeObject): CertificateSigningRequest {
  const spec = fields(object.spec);
  const status = fields(object.status);
  const conditions = parseConditions(status.conditions);
  const hasEnded = isTrue(conditions, 'Denied') || isTrue(conditions, 'Failed');
  const certificate = decoded(status.certificate);
  return {
    name: object.metadata.name,
    createdAtMs: Date.parse(object.metadata.creationTimestamp ?? ''),
    labels: object.metadata.labels ?? {},
    annotations: object.metadata.annotations ?? {},
    signer: text(spec.signerName),
    requester: { user: text(spec.username), groups: texts(spec.groups) },
    usages: texts(spec.usages),
    pem: decoded(spec.request),
    expirationSeconds: integer(spec.expirationSeconds),
    conditions,
    isApproved: isTrue(conditions, 'Approved') && !hasEnded,
    certificate: certificate === '' ? undefined : certificate,
  };
}

function decoded(base64: unknown): string {
  return Buffer.from(text(base64), 'base64').toString('utf8');
}
