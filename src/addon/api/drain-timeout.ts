import { processTable } from '../../base/options/process-options.ts';
import { valueAmong } from '../../base/options/read-options.ts';

/**
 * The `--drain-timeout` among the flags of a broker or an agent, or the default of that option, in
 * milliseconds.
 */
export function drainTimeoutMs(
  flags: readonly { readonly name: string; readonly value: string }[],
): number {
  const texts = flags.map(({ name, value }) => [name, value] as const);
  return valueAmong(processTable.drainTimeoutMs, texts);
}
