import type { Informer } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type ConfigLookup, type ConfigState, isSameKind } from '../api/config-reference.ts';
import { configKinds } from '../api/names.ts';
import { specHash } from '../api/spec-hash.ts';

/** Looks up configurations in caches. Each object is hashed once for all clusters. */
export function configLookup(caches: {
  readonly configurations: Informer;
  readonly deploymentConfigs: Informer;
}): ConfigLookup {
  const known = new WeakMap<KubeObject, ConfigState>();
  return (config) => {
    const object = isSameKind(config, configKinds.proxyConfiguration)
      ? caches.configurations.get(config.name)
      : caches.deploymentConfigs.get(`${config.namespace}/${config.name}`);
    if (object === undefined) return undefined;
    let state = known.get(object);
    if (state === undefined) {
      state = { generation: object.metadata.generation ?? 0, specHash: specHash(object) };
      known.set(object, state);
    }
    return state;
  };
}
