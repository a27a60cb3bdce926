import type { MetricsGroup } from './metrics.ts';
import type { FileStatus } from '../files/reloaded-files.ts';

/** Exposes metrics of files that may change while a program runs. */
export function exposeFiles(to: MetricsGroup, files: readonly FileStatus[]): void {
  const each = (read: (file: FileStatus) => number) => () =>
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
