import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, text } from '../api/fields.ts';

/** The prefix of annotations with the state of a rotation. */
const annotationPrefix = 'proxy.open-cluster-management.io';

/** Annotations of the Secrets with CAs and bundles. */
export const annotations = {
  /** A person sets it on the Secret of a CA. Each new value requests one rotation. */
  rotateCa: `${annotationPrefix}/rotate-ca`,
  /** The last value of `rotateCa` for which a rotation began. */
  rotatedFor: `${annotationPrefix}/rotated-for`,
  /** Why the current rotation began. */
  rotationReason: `${annotationPrefix}/ca-rotation-reason`,
  /**
   * The time since which all certificates are from the signing CA (RFC 3339), while the previous CA
   * retires.
   */
  reissuedSince: `${annotationPrefix}/reissued-since`,
  /** The time since which a bundle has been unchanged (RFC 3339). */
  trustedSince: `${annotationPrefix}/trusted-since`,
} as const;

/** The text under `key` in a Secret. Undefined: there is none. */
export function textIn(secret: KubeObject | undefined, key: string): string | undefined {
  const base64 = text(fields(secret?.['data'])[key]);
  return base64 === '' ? undefined : Buffer.from(base64, 'base64').toString('utf8');
}

export function annotationOf(secret: KubeObject | undefined, name: string): string | undefined {
  return secret?.metadata.annotations?.[name];
}
