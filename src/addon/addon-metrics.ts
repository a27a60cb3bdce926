import { Metrics } from '../base/metrics.ts';
import type { ControllerStatus } from '../kube/controller.ts';
import type { CsrCounts } from './controllers/csr-controller.ts';

/** What an addon manager counts, at one moment. */
export interface AddonNumbers {
  readonly isLeading: boolean;
  readonly clusters: number;
  readonly controllers: readonly ControllerStatus[];
  readonly requests: CsrCounts;
}

/** @param now asked whenever somebody looks */
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
  return metrics;
}
