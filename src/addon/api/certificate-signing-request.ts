import type { KubeObject } from '../../kube/client/kube-object.ts';
import { isTrue, parseConditions } from './condition.ts';
import { fields, integer, text, texts } from './fields.ts';

/** The fields of a CertificateSigningRequest that the addon uses. */
export type CertificateSigningRequest = Readonly<ReturnType<typeof parseCertificateSigningRequest>>;

export function parseCertificateSigningRequest(object: KubeObject) {
  const spec = fields(object.spec);
  const status = fields(object.status);
  const conditions = parseConditions(status.conditions);
  const hasEnded = isTrue(conditions, 'Denied') || isTrue(conditions, 'Failed');
  const certificate = decoded(status.certificate);
  return {
    name: object.metadata.name,
    /** In milliseconds since 1970. NaN: not stored yet. */
    createdAtMs: Date.parse(object.metadata.creationTimestamp ?? ''),
    labels: object.metadata.labels ?? {},
    annotations: object.metadata.annotations ?? {},
    signer: text(spec.signerName),
    /** The creator of the request. The API server sets it. */
    requester: { user: text(spec.username), groups: texts(spec.groups) },
    usages: texts(spec.usages),
    /** The request in PEM (PKCS#10). Its content is not verified. */
    pem: decoded(spec.request),
    /** The requested lifetime. Undefined: the signer decides. */
    expirationSeconds: integer(spec.expirationSeconds),
    conditions,
    /** Approved, and neither denied nor failed. */
    isApproved: isTrue(conditions, 'Approved') && !hasEnded,
    /** The signed certificate in PEM. Undefined: none yet. */
    certificate: certificate === '' ? undefined : certificate,
  };
}

function decoded(base64: unknown): string {
  return Buffer.from(text(base64), 'base64').toString('utf8');
}
