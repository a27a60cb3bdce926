import type { MetricsGroup } from '../../base/metrics.ts';
import type { ReloadStatus } from '../../base/reloaded-files.ts';

/** How files that may change while the broker runs are doing. */
export function exposeReloads(to: MetricsGroup, files: readonly ReloadStatus[]): void {
  const each = (read: (file: ReloadStatus) => number) => () =>
    files.map((file) => [file.what, read(file)] as const);
  to.gauges(
    'files_stale',
    '1 while certificates or keys have changed into something that cannot be used, and the last good ones stay',
    'what',
    each(({ stale }) => (stale ? 1 : 0)),
  );
  to.totals(
    'files_reloaded',
    'How often changed certificates or keys were taken',
    'what',
    each(({ reloads }) => reloads),
  );
  to.totals(
    'files_refused',
    'How often changed certificates or keys could not be used',
    'what',
    each(({ refusals }) => refusals),
  );
}
