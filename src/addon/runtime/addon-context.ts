import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';

/** The surroundings of the addon. */
export interface AddonContext {
  readonly api: KubeApi;
  readonly clock: Clock;
  /** The time of day, for certificates and conditions, in milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly log: Logger;
}
