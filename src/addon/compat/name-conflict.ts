import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef, refOf } from '../../kube/client/kube-ref.ts';
import { fields, items, textMap } from '../api/fields.ts';
import { configurationKind, hubLabel, serverLabel } from '../api/names.ts';
import { fieldManager, isUpstreamWrite } from './take-ownership.ts';

const [[partLabel, partValue]] = Object.entries(hubLabel) as [[string, string]];

/** Kinds whose objects are completed when another program made them. Others are not overwritten. */
const completed: readonly string[] = ['Namespace', 'ServiceAccount', 'Secret', 'RoleBinding'];

/**
 * Why `live` must not be overwritten: another program made it, and it only has the same name.
 * Undefined: it is from the addon or from Cluster Proxy.
 */
export function nameConflict(live: KubeObject | undefined): string | undefined {
  if (live === undefined || completed.includes(live.kind) || isHubObject(live)) return undefined;
  return `${describeRef(refOf(live))} is in the way: another program made it, so it is not changed; delete it, or give it the label ${partLabel}=${partValue} to let the addon take it over`;
}

/** Whether the addon made the object, or took it over, as a part of the hub. */
export function isMarked({ metadata }: KubeObject): boolean {
  return metadata.labels?.[partLabel] === partValue;
}

/** Whether the addon or Cluster Proxy made `live` or took it over. */
export function isHubObject(live: KubeObject): boolean {
  const { ownerReferences = [] } = live.metadata;
  const isOwned = ownerReferences.some(({ kind }) => kind === configurationKind);
  const writers = items(fields(live.metadata)['managedFields']);
  const isWritten = writers.some(({ manager }) => manager === fieldManager);
  return isMarked(live) || isOwned || isWritten || isUpstreamBalancer(live);
}

/**
 * Cluster Proxy's load balancer has neither owner nor label. Many programs write as `manager`, so
 * the selector must match as well.
 */
function isUpstreamBalancer({ kind, metadata, ...rest }: KubeObject): boolean {
  const selector = textMap(fields(rest['spec'])['selector']);
  return (
    kind === 'Service' &&
    Object.entries(serverLabel).every(([key, value]) => selector[key] === value) &&
    items(fields(metadata)['managedFields']).some(isUpstreamWrite)
  );
}
