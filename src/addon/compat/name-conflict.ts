import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import { fields, items, textMap } from '../api/fields.ts';
import { configurationKind, hubLabel, serverLabel } from '../api/names.ts';
import { fieldManager, isUpstreamWrite } from './take-ownership.ts';

const [[partLabel, partValue]] = Object.entries(hubLabel) as [[string, string]];

/** Kinds whose names others may have taken in good faith. Accounts and Secrets are filled in, whoever made them. */
const guarded: ReadonlySet<string> = new Set([
  'Service',
  'Deployment',
  'PodDisruptionBudget',
  'Ingress',
  'NetworkPolicy',
  'Role',
  'ClusterRole',
  'ClusterRoleBinding',
]);

/**
 * Why `live` must not be overwritten: it is somebody's own, and has only the name in common with what we make. Undefined: it is ours, or
 * Cluster Proxy's.
 */
export function nameConflict(live: KubeObject | undefined): string | undefined {
  if (live === undefined || !guarded.has(live.kind) || isHubObject(live)) return undefined;
  return `${describeRef(refOf(live))} is in the way: somebody else made it, so it is left as it is; delete it, or have it taken over with the label ${partLabel}=${partValue}`;
}

/** Whether we, or Cluster Proxy, have made `live` or taken it over. */
export function isHubObject(live: KubeObject): boolean {
  const { labels, ownerReferences = [] } = live.metadata;
  const isMarked = labels?.[partLabel] === partValue;
  const isOwned = ownerReferences.some(({ kind }) => kind === configurationKind);
  const writers = items(fields(live.metadata)['managedFields']);
  const isWritten = writers.some(({ manager }) => manager === fieldManager);
  return isMarked || isOwned || isWritten || isUpstreamBalancer(live);
}

/** Cluster Proxy gives its load balancer neither owner nor label. Its name in the list of writers many programs bear: the selector must fit too. */
function isUpstreamBalancer({ kind, metadata, ...rest }: KubeObject): boolean {
  const selector = textMap(fields(rest['spec'])['selector']);
  return (
    kind === 'Service' &&
    Object.entries(serverLabel).every(([key, value]) => selector[key] === value) &&
    items(fields(metadata)['managedFields']).some(isUpstreamWrite)
  );
}
