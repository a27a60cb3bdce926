import type { KubeObject } from '../../kube/client/kube-object.ts';
import { textMap } from '../api/fields.ts';
import { hubSecrets } from '../api/names.ts';
import { findObject, secret as secretObject } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import type { SecretKey } from '../configuration/spec.ts';

/** The value of a key in a Secret of the hub's namespace, or the sentence about what is missing. */
export function readSecretKey(
  observed: readonly KubeObject[],
  namespace: string,
  { name, key }: SecretKey,
) {
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

/** A shorter key is not from the addon, and could be guessed. */
const minKeyLength = 32;

/**
 * The Secret with the key by which replicas recognize each other. An existing key is kept,
 * otherwise the key is `freshKey`.
 */
export function replicaKeySecret(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
  freshKey: string,
): KubeObject & { readonly data: { readonly key: string } } {
  const ref = { name: hubSecrets.replicaKey, key: 'key' };
  const found = readSecretKey(observed, configuration.spec.proxyServer.namespace, ref).value;
  const isLong = found !== undefined && found.toString().trim().length >= minKeyLength;
  const key = (isLong ? found : Buffer.from(freshKey)).toString('base64');
  return { ...secretObject(hubMeta(configuration, ref.name), {}), data: { key } };
}
