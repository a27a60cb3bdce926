import { isDeepStrictEqual } from 'node:util';
import { keysFrom } from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { managementAddOnProblems } from './management-addon.ts';
import { labels } from '../api/names.ts';
import type { HubState } from '../hub/hub-state.ts';
import { keysOnChange, type Observable } from '../runtime/observable.ts';
import { isSameButVersion } from '../runtime/cached-object.ts';
import { byDeploymentConfig, type Watches } from '../runtime/watches.ts';

/**
 * The events that trigger the reconcile of a cluster. Keys are names of clusters. Only an event
 * that concerns all clusters names all.
 */
export function clusterSources(watches: Watches, state: Observable<HubState>) {
  const { addOns, clusters, works, access, deploymentConfigs, managementAddOns } = watches;
  const inNamespace = (object: KubeObject) => object.metadata.namespace ?? '';
  const all = () => addOns.list().map(inNamespace);
  return [
    keysFrom(addOns, ({ old, now }) => [inNamespace((now ?? old)!)]),
    keysFrom(clusters, ({ key, old, now }) => (isSameButVersion(old, now) ? [] : [key])),
    keysFrom(works, ({ old, now }) => [inNamespace((now ?? old)!)]),
    ...Object.values(access).map((informer) =>
      keysFrom(informer, ({ old, now }) =>
        [old, now].flatMap((object) => object?.metadata.labels?.[labels.clusterName] ?? []),
      ),
    ),
    keysFrom(deploymentConfigs, ({ key }) =>
      addOns.byIndex(byDeploymentConfig, key).map(inNamespace),
    ),
    keysFrom(managementAddOns, ({ old, now }) =>
      isDeepStrictEqual(managementAddOnProblems(old), managementAddOnProblems(now)) ? [] : all(),
    ),
    // The hub can take long to become ready. Clusters that are removed must not wait for it.
    keysOnChange(state, all),
  ];
}
