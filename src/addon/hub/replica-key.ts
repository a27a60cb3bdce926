import type { KubeObject } from '../../kube/client/kube-object.ts';
import { hubSecrets } from '../api/names.ts';
import { secret } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import { readSecretKey } from './secret-key.ts';

/** A shorter key is not from the addon, and could be guessed. */
const minKeyLength = 32;

/** The Secret with the key by which replicas recognize each other. An existing key is kept, otherwise the key is `freshKey`. */
export function replicaKeySecret(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
  freshKey: string,
): KubeObject & { readonly data: { readonly key: string } } {
  const ref = { name: hubSecrets.replicaKey, key: 'key' };
  const found = readSecretKey(observed, configuration.spec.proxyServer.namespace, ref).value;
  const isLong = found !== undefined && found.toString().trim().length >= minKeyLength;
  const key = (isLong ? found : Buffer.from(freshKey)).toString('base64');
  return { ...secret(hubMeta(configuration, ref.name), {}), data: { key } };
}
