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
const claimed: Readonly<Record<string, Claim>> = {
  Service: { 'f:spec': { 'f:ports': true } },
  Deployment: { 'f:spec': { 'f:template': { 'f:spec': true } } },
};
const everything = true;
/** The fields of another manager that the addon takes over, as a tree of `fieldsV1`. */
type Claim = true | { readonly [field: string]: Claim };

function claimOn({ kind }: KubeObject, entry: Fields): Claim | undefined {
  if (!isUpdate(entry)) return undefined;
  if (isUpstreamWrite(entry)) return everything;
  return entry['manager'] === fieldManager ? undefined : claimed[kind];
}

/** The managedFields after the transfer. Undefined: nothing changes. */
function adopted(live: KubeObject): readonly Fields[] | undefined {
  const kept: Fields[] = [];
  let taken: Fields = {};
  for (const entry of items(fields(live.metadata)['managedFields'])) {
    const parts = split(fields(entry['fieldsV1']), claimOn(live, entry));
    taken = merge(taken, parts.taken);
    if (Object.keys(parts.left).length > 0) kept.push({ ...entry, fieldsV1: parts.left });
  }
  if (Object.keys(taken).length === 0) return undefined;
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

/** The fields in `owned` that `claim` names, and the others. */
function split(
  owned: Fields,
  claim: Claim | undefined,
): Readonly<Record<'taken' | 'left', Fields>> {
  if (claim === undefined) return { taken: {}, left: owned };
  if (claim === true) return { taken: owned, left: {} };
  const taken: Record<string, unknown> = {};
  const left: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(owned)) {
    const parts = split(fields(value), claim[key]);
    const isTaken = Object.keys(parts.taken).length > 0;
    if (isTaken) taken[key] = parts.taken;
    if (!isTaken || Object.keys(parts.left).length > 0) left[key] = parts.left;
  }
  return { taken, left };
}

function merge(a: Fields, b: Fields): Fields {
  const merged: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    merged[key] = key in a ? merge(fields(a[key]), fields(value)) : value;
  }
  return merged;
}
