import type { OptionsDraft } from '../base/options/read-options.ts';
import { processTable } from '../base/options/process-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { formatHostPort, type HostPort, isLoopback } from '../base/net/host-port.ts';

/** What every way to run everything on one machine has. */
export const localTable = {
  konnectivityListen: {
    name: 'konnectivity-listen',
    kind: 'hostPort',
    default: '127.0.0.1:8090',
    help: 'Where konnectivity clients connect (plain gRPC); loopback only.',
  },
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    default: 'dev',
    help: 'The name of the cluster that the built-in agent speaks for.',
  },
  drainTimeoutMs: { ...processTable.drainTimeoutMs, default: '2s' },
  logLevel: { ...processTable.logLevel, default: 'warn' },
} as const satisfies OptionsTable;

/** Nobody is asked for credentials, so none of these addresses may be reached from other machines. */
export function checkLoopback<T extends OptionsTable>(
  { values, label, problem }: OptionsDraft<T>,
  keys: readonly (keyof T & string)[],
): void {
  for (const key of keys) {
    const address = values[key] as HostPort | undefined;
    if (address === undefined || isLoopback(address.host)) continue;
    problem(
      `${label(key)}=${formatHostPort(address)} is not loopback; for other machines run culvert broker and agent with tokens`,
    );
  }
}
