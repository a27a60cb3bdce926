import { type HostPort, isLoopback, parseHostPort } from '../base/net/host-port.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { processTable } from '../base/options/process-options.ts';
import { ValueError } from '../base/value-error.ts';

/** An address that other machines cannot reach, because `culvert dev` asks for no credentials. */
export const loopbackAddress = {
  kind: 'parsed',
  parse: parseLoopbackAddress,
  placeholder: 'HOST:PORT',
} as const;

/** Options of the commands that run everything on one machine. */
export const localTable = {
  konnectivityListen: {
    name: 'konnectivity-listen',
    ...loopbackAddress,
    default: '127.0.0.1:8090',
    help: 'The address at which konnectivity clients connect without credentials (gRPC without TLS), on loopback.',
  },
  gatewayListen: {
    name: 'gateway-listen',
    ...loopbackAddress,
    default: '127.0.0.1:9092',
    help: 'The address at which HTTP clients such as kubectl reach the cluster without credentials (HTTP without TLS), on loopback.',
  },
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    default: 'dev',
    help: 'The name of the cluster of the built-in agent.',
  },
  drainTimeoutMs: { ...processTable.drainTimeoutMs, default: '2s' },
  logLevel: { ...processTable.logLevel, default: 'warn' },
} as const satisfies OptionsTable;

function parseLoopbackAddress(text: string): HostPort {
  const address = parseHostPort(text);
  if (isLoopback(address.host)) return address;
  throw new ValueError(
    'is not loopback; for other machines run culvert broker and agent with tokens',
  );
}
