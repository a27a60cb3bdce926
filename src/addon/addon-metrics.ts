import { Metrics } from '../base/metrics/metrics.ts';
import type { ControllerStatus } from '../kube/controllers/controller.ts';
import type { Controllers } from './controllers.ts';
import type { RotationSeen } from './rotation/rotation-status.ts';

/** The numbers of an addon manager at one moment. */
export type AddonNumbers = Controllers['numbers'] & { readonly isLeading: boolean };

const stageNumbers = { steady: 0, distributing: 1, retiring: 2 } as const;

/** @param now called for each scrape */
export function addonMetrics(now: () => AddonNumbers): Metrics {
  const metrics = new Metrics();
  const to = metrics.group('culvert_addon');
  const each = (field: Exclude<keyof ControllerStatus, 'name'>) => () =>
    now().controllers.map((status) => [status.name, Number(status[field])] as const);
  to.gauge('leading', '1 while this process leads', () => Number(now().isLeading));
  to.gauge('clusters', 'Clusters that have the addon', () => now().clusters);
  to.gauges('queue_depth', 'Keys that wait for a worker', 'controller', each('depth'));
  to.gauges('failing_keys', 'Keys whose last attempt failed', 'controller', each('failing'));
  to.totals('reconciled', 'Attempts that succeeded', 'controller', each('reconciled'));
  to.totals('retries', 'Attempts that failed', 'controller', each('retries'));
  to.totals(
    'signing_requests',
    'Certificate signing requests, by what became of them',
    'result',
    () => Object.entries(now().requests),
  );
  const rotating = (number: (seen: RotationSeen) => number) => () =>
    Object.entries<RotationSeen | undefined>({ ...now().rotations }).flatMap(([ca, seen]) =>
      seen === undefined ? [] : [[ca, number(seen)] as const],
    );
  to.gauges(
    'ca_rotation_stage',
    'How far the rotation of a CA is: 0 none, 1 the next one is trusted, 2 it signs',
    'ca',
    rotating(({ stage }) => stageNumbers[stage]),
  );
  to.gauges(
    'ca_rotation_clusters_behind',
    'Clusters that the rotation of a CA waits for',
    'ca',
    rotating(({ wait }) => wait?.laggards.length ?? 0),
  );
  return metrics;
}
