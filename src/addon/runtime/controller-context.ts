import { isDeepStrictEqual } from 'node:util';
import { Controller, type ControllerOptions } from '../../kube/controllers/controller.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import type { Fields } from '../api/fields.ts';
import type { AddonContext } from './addon-context.ts';
import type { Applier } from './applier.ts';
import type { Watches } from './watches.ts';

/** The parts that all controllers of the addon share. */
export interface ControllerContext extends AddonContext {
  readonly applier: Applier;
  readonly watches: Watches;
}

/**
 * A controller of the addon. A missing permission is retried every minute, because no event
 * announces that it was granted. Reconciles end within the drain time, before another process may
 * lead.
 */
export function addonController(
  { clock, log }: Pick<AddonContext, 'clock' | 'log'>,
  options: Pick<ControllerOptions, 'name' | 'sources' | 'reconcile' | 'workers'>,
): Controller {
  return new Controller({ ...options, backoff: { capMs: 60_000 }, lastRunsMs: 3_000, clock, log });
}

/**
 * Patches a subresource of `object`. The API server refuses the patch when the object has changed
 * since it was read.
 */
export async function patchStatus(
  api: KubeApi,
  object: KubeObject,
  status: object,
  signal: AbortSignal,
  subresource: 'status' | 'approval' = 'status',
): Promise<void> {
  const { uid, resourceVersion } = object.metadata;
  const patch = { metadata: { uid, resourceVersion }, status };
  await api.patch(refOf(object), patch, { signal, subresource });
}

/**
 * A JSON merge patch of the subresource `status`. The API server refuses it when the object has
 * changed since it was read.
 *
 * @param next fields of the status
 * @returns undefined when nothing changes
 */
export function statusPatch(
  before: Pick<ObjectMeta, 'uid' | 'resourceVersion'> & { readonly status: Fields },
  next: Fields,
): Fields | undefined {
  const { uid, resourceVersion, status } = before;
  const isChanged = ([key, value]: [string, unknown]) => !isDeepStrictEqual(value, status[key]);
  const changed = Object.entries(next).filter(isChanged);
  if (changed.length === 0) return undefined;
  return { metadata: { uid, resourceVersion }, status: Object.fromEntries(changed) };
}
