import { brokerOperatorTable } from '../../base/options-operator.ts';
import { parseDurationMs } from '../../base/options-values.ts';

const { name, default: byDefault } = brokerOperatorTable.drainTimeoutMs;

/** The `--drain-timeout` among the flags of a broker or an agent, or the default of that option, in milliseconds. */
export function drainTimeoutMs(
  flags: readonly { readonly name: string; readonly value: string }[],
): number {
  return parseDurationMs(flags.findLast((flag) => flag.name === name)?.value ?? byDefault);
}
