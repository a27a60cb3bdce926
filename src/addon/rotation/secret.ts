import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';

/** The prefix of annotations that say how far a rotation is. */
const annotationPrefix = 'proxy.open-cluster-management.io';

/** Annotations of the Secrets with CAs and bundles. */
export const annotations = {
  /** Set by a person on a signer's Secret: each new value asks for one rotation of its CA. */
  rotateCa: `${annotationPrefix}/rotate-ca`,
  /** The last value of `rotateCa` that a rotation was begun for. */
  rotatedFor: `${annotationPrefix}/rotated-for`,
  /** Why the rotation that is under way was begun. */
  rotationReason: `${annotationPrefix}/ca-rotation-reason`,
  /** Since when all that is shown is of the CA that signs (RFC 3339); while the one before retires. */
  reissuedSince: `${annotationPrefix}/reissued-since`,
  /** Since when a bundle has held what it holds (RFC 3339). */
  trustedSince: `${annotationPrefix}/trusted-since`,
} as const;

/** What a Secret holds under `key`, as text; undefined where it holds nothing there. */
export function textIn(secret: KubeObject | undefined, key: string): string | undefined {
  const data = secret?.['data'] as Readonly<Record<string, string>> | undefined;
  const base64 = data?.[key];
  return base64 === undefined || base64 === ''
    ? undefined
    : Buffer.from(base64, 'base64').toString('utf8');
}

export function annotationOf(secret: KubeObject | undefined, name: string): string | undefined {
  return secret?.metadata.annotations?.[name];
}

/** What applies to make the Secret hold `texts`. The type of one that exists cannot change, so it keeps it. */
export function makeSecret(
  metadata: ObjectMeta,
  texts: Readonly<Record<string, string>>,
  observed: KubeObject | undefined,
): KubeObject {
  const type = observed?.['type'];
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata,
    type: typeof type === 'string' ? type : 'Opaque',
    data: Object.fromEntries(
      Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
    ),
  };
}
