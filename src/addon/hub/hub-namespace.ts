import type { Clock } from '../../base/clock.ts';
import { sleep } from '../../base/sleep.ts';
import type { KubeCollection, Selectors } from '../../kube/client/kube-api.ts';
import { describeRef } from '../../kube/client/kube-ref.ts';
import { apiGroups, hubLabel, labels } from '../api/names.ts';
import type { CachedCollection, NamespaceCache } from '../runtime/namespace-cache.ts';

/** The time for the first read, in milliseconds, before its problems are reported. */
const firstReadMs = 5_000;

const [hubSelector] = Object.entries(hubLabel).map((label) => label.join('='));

/**
 * The kinds of objects that `planHub` renders. The controller watches them and may delete them,
 * except Secrets. The selectors leave out objects that are not the hub's and can be large or many.
 */
export const hubKinds = (namespace: string): readonly (KubeCollection & Selectors)[] => [
  { apiVersion: 'v1', kind: 'Namespace', fieldSelector: `metadata.name=${namespace}` },
  { apiVersion: 'v1', kind: 'ServiceAccount', namespace },
  // Helm stores each release in a Secret of up to a megabyte.
  { apiVersion: 'v1', kind: 'Secret', namespace, fieldSelector: 'type!=helm.sh/release.v1' },
  { apiVersion: 'v1', kind: 'Service', namespace },
  { apiVersion: 'apps/v1', kind: 'Deployment', namespace },
  { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', namespace },
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace },
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', namespace },
  { apiVersion: rbac, kind: 'Role', namespace },
  // Bindings of clusters are watched with their clusters.
  { apiVersion: rbac, kind: 'RoleBinding', namespace, labelSelector: `!${labels.addonName}` },
  { apiVersion: rbac, kind: 'ClusterRole', labelSelector: hubSelector },
  { apiVersion: rbac, kind: 'ClusterRoleBinding', labelSelector: hubSelector },
];
const rbac = `${apiGroups.rbac}/v1`;

/** The kinds with whole objects, for `NamespaceCache`. */
export const hubCollections = (namespace: string): readonly CachedCollection[] =>
  hubKinds(namespace).map(({ fieldSelector, labelSelector, ...collection }) => {
    return { collection, fieldSelector, labelSelector, keep: (object) => object };
  });

/**
 * Waits until the hub's objects have been read. Their caches include `managedFields`, by which the
 * addon takes ownership of the fields that Cluster Proxy wrote.
 *
 * @throws Error the reason why something cannot be read
 */
export async function untilHubRead(
  { informers }: NamespaceCache,
  namespace: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const waiting = informers.filter(({ hasSynced }) => !hasSynced);
  if (waiting.length === 0) return;
  const over = new AbortController();
  const late = sleep(clock, firstReadMs, AbortSignal.any([signal, over.signal]));
  const synced = Promise.all(waiting.map((informer) => informer.synced(signal)));
  try {
    await Promise.race([synced, late]);
  } finally {
    over.abort();
    await Promise.allSettled([late]);
  }
  signal.throwIfAborted();
  const unread = waiting.filter(({ hasSynced }) => !hasSynced);
  if (unread.length === 0) return;
  const sentences = unread.map(
    ({ problem, collection }) => problem ?? `${describeRef(collection)} are still being read`,
  );
  const isForbidden = sentences.some((sentence) => sentence.includes('forbidden'));
  const rights = `spec.proxyServer.namespace is ${namespace}: the account of the addon manager needs there what the chart's Role open-cluster-management:cluster-proxy:addon-manager gives it in the release namespace`;
  throw new Error([...(isForbidden ? [rights] : []), ...sentences].join('; '));
}
