import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { fields, isFields, items, text, type Fields } from '../api/fields.ts';

/** Who owns the fields that the addon applies. */
export const fieldManager = 'culvert-addon';

/** A JSON merge patch of one live object; it carries the resourceVersion, so that it is refused when the object has changed. */
export interface OwnershipPatch {
  readonly ref: KubeRef;
  readonly patch: { readonly metadata: Readonly<Record<string, unknown>> };
}

/** What Cluster Proxy's own controllers write as: the name of their program. */
const upstreamManager = 'manager';

/** Whether an entry of `managedFields` stands for what Cluster Proxy's controllers wrote into an object; its status is none of it. */
export function isUpstreamWrite(entry: Fields): boolean {
  return isUpdate(entry) && entry['manager'] === upstreamManager;
}

function isUpdate(entry: Fields): boolean {
  return entry['operation'] === 'Update' && text(entry['subresource']) === '';
}

/**
 * Server-side apply leaves fields of other managers alone. That keeps what upstream's controllers wrote before us (a port of the
 * load balancer, a command, a volume) and what somebody adds by hand to a Service's ports or to the pods of the brokers. Their ownership
 * is handed to us here; the next apply then drops what we do not want. Statuses and everybody else's fields stay theirs.
 */
export function ownershipPatches(
  wanted: readonly KubeObject[],
  observed: readonly KubeObject[],
): readonly OwnershipPatch[] {
  return wanted.flatMap((object) => {
    const live = observed.find(
      ({ kind, metadata }) =>
        kind === object.kind &&
        metadata.name === object.metadata.name &&
        metadata.namespace === object.metadata.namespace,
    );
    const managedFields = live && adopted(live);
    if (live === undefined || managedFields === undefined) return [];
    const { resourceVersion } = live.metadata;
    return [{ ref: refOf(live), patch: { metadata: { resourceVersion, managedFields } } }];
  });
}

/** Annotations of pods are anybody's: by one `kubectl rollout restart` replaces them. */
const claimed: Readonly<Record<string, Claim>> = {
  Service: { 'f:spec': { 'f:ports': true } },
  Deployment: { 'f:spec': { 'f:template': { 'f:spec': true } } },
};
const everything = true;
/** Which of another manager's fields are ours to decide on; a tree of those of `fieldsV1`. */
type Claim = true | { readonly [field: string]: Claim };

function claimOn({ kind }: KubeObject, entry: Fields): Claim | undefined {
  if (!isUpdate(entry)) return undefined;
  if (isUpstreamWrite(entry)) return everything;
  return entry['manager'] === fieldManager ? undefined : claimed[kind];
}

/** The managedFields after the change; undefined where nothing is to change. */
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
