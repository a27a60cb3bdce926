import type { KubeObject } from '../../kube/kube-object.ts';
import { fields, items, text, texts } from './fields.ts';

/** What we need of a CertificateSigningRequest. The request inside is read elsewhere. */
export interface CertificateSigningRequest {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly signer: string;
  /** Who created it: the API server fills this in. */
  readonly requester: { readonly user: string; readonly groups: readonly string[] };
  readonly usages: readonly string[];
  /** Somebody has approved or denied it, or it has failed: nothing is left to decide. */
  readonly isDecided: boolean;
}

export function parseCertificateSigningRequest(object: KubeObject): CertificateSigningRequest {
  const spec = fields(object.spec);
  const conditions = items(fields(object.status).conditions);
  return {
    name: object.metadata.name,
    labels: object.metadata.labels ?? {},
    annotations: object.metadata.annotations ?? {},
    signer: text(spec.signerName),
    requester: { user: text(spec.username), groups: texts(spec.groups) },
    usages: texts(spec.usages),
    isDecided: conditions.length > 0,
  };
}
