import type { ControllerOptions } from '../../kube/controllers/controller.ts';

/**
 * What all controllers have in common: nobody tells us when a permission was given, so it is tried again every minute; and they have
 * ended before another process may lead.
 */
export const controllerDefaults = {
  backoff: { capMs: 60_000 },
  drainMs: 3_000,
} as const satisfies Partial<ControllerOptions>;
