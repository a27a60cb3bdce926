import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { fields, isFields, items, text, type Fields } from '../api/fields.ts';
import { findSame } from '../api/objects.ts';

/** The field manager of the addon. */
export const fieldManager = 'culvert-addon';

/** A JSON merge patch for a live object. The API server refuses it when the object has changed. */
export interface OwnershipPatch {
  readonly ref: KubeRef;
  readonly patch: { readonly metadata: Readonly<Record<string, unknown>> };
}

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
 */
export function ownershipPatches(
  wanted: readonly KubeObject[],
  observed: readonly KubeObject[],
): readonly OwnershipPatch[] {
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
  const entries = items(fields(live.metadata)['managedFields']);
  const kept: Fields[] = [];
  let taken: Fields = {};
  for (const entry of entries) {
    const owned = fields(entry['fieldsV1']);
    const claim = claimOn(live, entry);
    const claimed = claim === undefined ? {} : intersect(owned, claim);
    taken = merge(taken, claimed);
    const left = subtract(owned, claimed);
    if (Object.keys(left).length > 0) kept.push({ ...entry, fieldsV1: left });
  }
  if (Object.keys(taken).length === 0) return undefined;
  const isOurs = (entry: Fields) =>
    entry['manager'] === fieldManager && entry['operation'] === 'Apply' && !entry['subresource'];
  const ours = kept.find(isOurs) ?? {
    manager: fieldManager,
    operation: 'Apply',
    apiVersion: live.apiVersion,
    fieldsType: 'FieldsV1',
  };
  const merged = { ...ours, fieldsV1: merge(fields(fields(ours)['fieldsV1']), taken) };
  return [...kept.filter((entry) => !isOurs(entry)), merged];
}

function intersect(owned: Fields, claim: Claim): Fields {
  if (claim === true) return owned;
  const common: Record<string, unknown> = {};
  for (const [key, under] of Object.entries(claim)) {
    if (!isFields(owned[key])) continue;
    const child = intersect(owned[key], under);
    if (Object.keys(child).length > 0) common[key] = child;
  }
  return common;
}

function subtract(owned: Fields, taken: Fields): Fields {
  const left: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(owned)) {
    const gone = taken[key];
    if (gone === undefined) {
      left[key] = value;
      continue;
    }
    const child = subtract(fields(value), fields(gone));
    if (Object.keys(child).length > 0) left[key] = child;
  }
  return left;
}

function merge(a: Fields, b: Fields): Fields {
  const merged: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    merged[key] = key in a ? merge(fields(a[key]), fields(value)) : value;
  }
  return merged;
}
