import type { OptionsDraft } from '../base/options/read-options.ts';
import type { OptionsTable, OptionsOf } from '../base/options/option-table.ts';
import { formatHostPort, isLoopback } from '../base/net/host-port.ts';
import { defaultTlsPolicy } from '../base/tls/tls-policy.ts';
import type { BridgeFrontOptions } from './options.ts';

export const bridgeFrontTable = {
  konnectivityListen: {
    name: 'konnectivity-listen',
    kind: 'hostPort',
    help: 'The address at which konnectivity clients connect over TCP (gRPC). An address that other machines can reach needs the three TLS files.',
  },
  konnectivityTlsCert: {
    name: 'konnectivity-tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --konnectivity-listen.',
  },
  konnectivityTlsKey: {
    name: 'konnectivity-tls-key',
    kind: 'file',
    help: 'Private key (PEM) of --konnectivity-tls-cert.',
  },
  konnectivityClientCa: {
    name: 'konnectivity-client-ca',
    kind: 'file',
    holdsCasOf: 'clients',
    help: 'The CAs (PEM), roots or intermediates, that issue the certificates of konnectivity clients. Clients without such a certificate are refused.',
  },
  konnectivityUds: {
    name: 'konnectivity-uds',
    kind: 'string',
    placeholder: 'PATH',
    help: 'The path of a Unix socket at which konnectivity clients connect. Its owner and group have access.',
  },
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    help: 'Single-cluster mode, for the egress selector of a kube-apiserver: every destination is in this cluster.',
  },
} as const satisfies OptionsTable;

type FrontTable = typeof bridgeFrontTable;
const tlsKeys = ['konnectivityTlsCert', 'konnectivityTlsKey', 'konnectivityClientCa'] as const;

/** The fronts that the options ask for, or undefined if they ask for none. */
export function bridgeFrontOptions(
  values: OptionsOf<FrontTable>,
  tlsPolicy = defaultTlsPolicy,
): BridgeFrontOptions | undefined {
  const { konnectivityListen: listen, konnectivityUds: udsPath, cluster } = values;
  if (listen === undefined && udsPath === undefined) return undefined;
  const [certFile, keyFile, clientCaFile] = tlsKeys.map((key) => values[key]);
  return Object.freeze({
    ...(listen && { listen }),
    ...(udsPath !== undefined && { udsPath }),
    ...(certFile &&
      keyFile &&
      clientCaFile && { tls: { certFile, keyFile, clientCaFile }, tlsPolicy }),
    ...(cluster !== undefined && { cluster }),
  });
}

/** Problems between the options of `bridgeFrontTable`. */
export function checkBridgeFront(draft: OptionsDraft<FrontTable>): void {
  if (draft.given('konnectivityListen')) checkTcpFront(draft);
  else checkNoTcpFront(draft);
}

function checkNoTcpFront({ given, label, problem }: OptionsDraft<FrontTable>): void {
  for (const key of tlsKeys) {
    if (given(key)) problem(`${label(key)} is for --konnectivity-listen, which is not given`);
  }
  if (!given('konnectivityUds') && given('cluster')) {
    problem(
      `${label('cluster')} needs a front for konnectivity clients, give --konnectivity-listen or --konnectivity-uds`,
    );
  }
}

function checkTcpFront({ values, given, label, problem, warn }: OptionsDraft<FrontTable>): void {
  const missing = tlsKeys.filter((key) => !given(key));
  if (missing.length === 0) return;
  const needed = missing.map(label).join(' and ');
  if (missing.length < tlsKeys.length) {
    problem(`TLS on ${label('konnectivityListen')} also needs ${needed}`);
    return;
  }
  if (values.konnectivityListen === undefined) return;
  const address = formatHostPort(values.konnectivityListen);
  if (isLoopback(values.konnectivityListen.host)) {
    warn(
      `no --konnectivity-client-ca: every process on this machine may reach every cluster through ${address}`,
    );
  } else {
    problem(
      `${label('konnectivityListen')}=${address} can be reached from other machines but no client is asked for credentials, ` +
        `give ${needed}, or listen on 127.0.0.1`,
    );
  }
}
