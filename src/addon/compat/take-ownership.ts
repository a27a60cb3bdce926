import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { fields, items, text, type Fields } from '../api/fields.ts';
import { findSame } from '../api/objects.ts';

/** The field manager of the addon. */
export const fieldManager = 'culvert-addon';

/** The field manager of Cluster Proxy's controllers. */
const upstreamManager = 'manager';

/**
 * Whether an entry of `managedFields` is from Cluster Proxy's controllers, except for the status.
 */
export function isUpstreamWrite(entry: Fields): boolean {
  return isUpdate(entry) && entry['manager'] === upstreamManager;
}

function isUpdate(entry: Fields): boolean {
  return entry['operation'] === 'Update' && text(entry['subresource']) === '';
}

/**
 * Transfers fields of other managers to the addon. Server-side apply keeps such fields: those that
 * Cluster Proxy wrote before (a port of the load balancer, a command, a volume), and those that a
 * person adds to the ports of a Service or to the pods of brokers. After the transfer, the next
 * apply removes those that are not wanted. Statuses and all other fields keep their managers.
 *
 * @returns JSON merge patches; the API server refuses one when its object has changed
 */
export function ownershipPatches(wanted: readonly KubeObject[], observed: readonly KubeObject[]) {
  return wanted.flatMap((object) => {
    const live = findSame(observed, object);
    const managedFields = live && adopted(live);
    if (live === undefined || managedFields === undefined) return [];
    const { resourceVersion } = live.metadata;
    return [{ ref: refOf(live), patch: { metadata: { resourceVersion, managedFields } } }];
  });
}

/** Annotations of pods stay with their managers, because `kubectl rollout restart` sets one. */
const claimed: Readonly<Record<string, Path>> = {
  Service: ['f:spec', 'f:ports'],
  Deployment: ['f:spec', 'f:template', 'f:spec'],
};
/** Leads to the fields that the addon takes over, in the tree `fieldsV1`. Empty: all of them. */
type Path = readonly string[];

/** The fields of another manager that the addon takes over. Undefined: none. */
function claimOn({ kind }: KubeObject, entry: Fields): Path | undefined {
  if (!isUpdate(entry)) return undefined;
  if (isUpstreamWrite(entry)) return [];
  return entry['manager'] === fieldManager ? undefined : claimed[kind];
}

/** The managedFields after the transfer. Undefined: nothing changes. */
function adopted(live: KubeObject): readonly Fields[] | undefined {
  const kept: Fields[] = [];
  let taken: Fields = {};
  for (const entry of items(fields(live.metadata)['managedFields'])) {
    const owned = fields(entry['fieldsV1']);
    const path = claimOn(live, entry);
    const parts = path === undefined ? { taken: {}, left: owned } : split(owned, path);
    taken = merge(taken, parts.taken);
    if (!isEmpty(parts.left)) kept.push({ ...entry, fieldsV1: parts.left });
  }
  if (isEmpty(taken)) return undefined;
  const isOurs = (entry: Fields) =>
    entry['manager'] === fieldManager && entry['operation'] === 'Apply' && !entry['subresource'];
  const ours: Fields = kept.find(isOurs) ?? {
    manager: fieldManager,
    operation: 'Apply',
    apiVersion: live.apiVersion,
    fieldsType: 'FieldsV1',
  };
  const merged = { ...ours, fieldsV1: merge(fields(ours['fieldsV1']), taken) };
  return [...kept.filter((entry) => !isOurs(entry)), merged];
}

/** The fields in `owned` at the end of `path`, and the others. */
function split(owned: Fields, path: Path): Readonly<Record<'taken' | 'left', Fields>> {
  const [key, ...rest] = path;
  if (key === undefined) return { taken: owned, left: {} };
  const { [key]: value, ...others } = owned;
  const { taken, left } = split(fields(value), rest);
  if (isEmpty(taken)) return { taken, left: owned };
  return { taken: { [key]: taken }, left: isEmpty(left) ? others : { ...others, [key]: left } };
}

function isEmpty(tree: Fields): boolean {
  return Object.keys(tree).length === 0;
}

function merge(a: Fields, b: Fields): Fields {
  const merged: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    merged[key] = key in a ? merge(fields(a[key]), fields(value)) : value;
  }
  return merged;
}
