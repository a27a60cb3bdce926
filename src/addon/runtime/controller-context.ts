import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { ControllerOptions } from '../../kube/controllers/controller.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import type { Applier } from './applier.ts';
import type { Watches } from './watches.ts';

/** What every controller of the addon works with. */
export interface ControllerContext {
  readonly api: KubeApi;
  readonly applier: Applier;
  readonly watches: Watches;
  readonly clock: Clock;
  /** The time of day, for certificates and conditions. */
  readonly wallClock: () => Date;
  readonly log: Logger;
}

/**
 * Settings of all controllers. A missing permission is retried every minute, because no event announces that it was granted. Reconciles end
 * within the drain time, before another process may lead.
 */
export const controllerDefaults = {
  backoff: { capMs: 60_000 },
  drainMs: 3_000,
} as const satisfies Partial<ControllerOptions>;

/** Patches a subresource of `object`. The API server refuses the patch when the object has changed since it was read. */
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
