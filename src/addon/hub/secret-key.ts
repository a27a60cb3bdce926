import type { KubeObject } from '../../kube/client/kube-object.ts';
import { textMap } from '../api/fields.ts';
import { findObject } from '../api/objects.ts';
import type { SecretKey } from '../configuration/spec.ts';

/** A key in a Secret of the hub's namespace: its value, or the sentence about what is missing. */
export type SecretKeyValue =
  | { readonly value: Buffer; readonly problem?: undefined }
  | { readonly value?: undefined; readonly problem: string };

export function readSecretKey(
  observed: readonly KubeObject[],
  namespace: string,
  { name, key }: SecretKey,
): SecretKeyValue {
  const secret = findObject(observed, 'Secret', name, namespace);
  const what = `Secret ${namespace}/${name}`;
  if (secret === undefined) {
    return { problem: `names ${what}, which does not exist; create it with the key ${key}` };
  }
  const value = textMap(secret['data'])[key];
  if (value === undefined) {
    return { problem: `names the key ${key}, which ${what} does not have; add it` };
  }
  return { value: Buffer.from(value, 'base64') };
}
