import { textMap } from '../api/fields.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { hubSecrets } from '../api/names.ts';
import { findObject } from '../api/objects.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';

/** The Secret with the key that replicas know each other by: what there is stays, else `freshKey` is taken. */
export function replicaKeySecret(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
  freshKey: string,
): KubeObject & { readonly data: { readonly key: string } } {
  const { namespace } = configuration.spec.proxyServer;
  const found = findObject(observed, 'Secret', hubSecrets.replicaKey, namespace);
  const key = textMap(found?.['data'])['key'];
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: hubMeta(configuration, hubSecrets.replicaKey),
    type: 'Opaque',
    data: { key: isKey(key) ? key : Buffer.from(freshKey).toString('base64') },
  };
}

/** Shorter ones were not made by us, and can be guessed. */
const minKeyLength = 32;

function isKey(base64: string | undefined): base64 is string {
  return (
    base64 !== undefined && Buffer.from(base64, 'base64').toString().trim().length >= minKeyLength
  );
}
