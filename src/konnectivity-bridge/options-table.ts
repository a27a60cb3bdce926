import type { OptionsDraft } from '../base/options/read-options.ts';
import type { OptionsTable, OptionsOf } from '../base/options/option-table.ts';
import { formatHostPort, isLoopback } from '../base/net/host-port.ts';
import { defaultTlsPolicy } from '../base/tls/tls-policy.ts';
import type { BridgeFrontOptions } from './options.ts';
import { shareOptions, sharesTable } from './shares-table.ts';

export const bridgeFrontTable = {
  konnectivityListen: {
    name: 'konnectivity-listen',
    kind: 'hostPort',
    help: 'The address at which konnectivity clients connect over TCP, with gRPC or HTTP CONNECT. An address that other machines can reach needs the three TLS files.',
  },
  konnectivityTlsCert: {
    name: 'konnectivity-tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --konnectivity-listen and --socks5-listen.',
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
    help: 'The CAs (PEM), roots or intermediates, that issue the certificates of konnectivity and SOCKS 5 clients. Clients without such a certificate are refused.',
  },
  konnectivityUds: {
    name: 'konnectivity-uds',
    kind: 'string',
    placeholder: 'PATH',
    help: 'The path of a Unix socket at which konnectivity clients connect. Its owner and group have access.',
  },
  socks5Listen: {
    name: 'socks5-listen',
    kind: 'hostPort',
    help: 'The address at which SOCKS 5 clients connect. They name destinations as konnectivity clients do. An address that other machines can reach needs the three TLS files.',
  },
  socks5RequireToken: {
    name: 'socks5-require-token',
    kind: 'boolean',
    help: 'Refuses SOCKS 5 clients that show no token of `culvert token dialer` as user and password. The token decides which clusters they reach.',
  },
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    help: 'Single-cluster mode, for the egress selector of a kube-apiserver: every destination is in this cluster.',
  },
  ...sharesTable,
} as const satisfies OptionsTable;

type FrontTable = typeof bridgeFrontTable;
const tlsKeys = ['konnectivityTlsCert', 'konnectivityTlsKey', 'konnectivityClientCa'] as const;
const listenKeys = ['konnectivityListen', 'socks5Listen'] as const;
type ListenKey = (typeof listenKeys)[number];

/** The fronts that the options ask for, or undefined if they ask for none. */
export function bridgeFrontOptions(
  values: OptionsOf<FrontTable>,
  tlsPolicy = defaultTlsPolicy,
): BridgeFrontOptions | undefined {
  const { konnectivityListen: listen, konnectivityUds: udsPath, cluster } = values;
  const { socks5Listen, socks5RequireToken: requiresToken } = values;
  if (listen === undefined && udsPath === undefined && socks5Listen === undefined) return undefined;
  const shares = shareOptions(values);
  const [certFile, keyFile, clientCaFile] = tlsKeys.map((key) => values[key]);
  return Object.freeze({
    ...(listen && { listen }),
    ...(udsPath !== undefined && { udsPath }),
    ...(socks5Listen && { socks5: { listen: socks5Listen, requiresToken } }),
    ...(certFile &&
      keyFile &&
      clientCaFile && { tls: { certFile, keyFile, clientCaFile }, tlsPolicy }),
    ...(cluster !== undefined && { cluster }),
    ...(shares && { shares }),
  });
}

/** Problems between the options of `bridgeFrontTable`. */
export function checkBridgeFront(draft: OptionsDraft<FrontTable>): void {
  const { given, label, problem } = draft;
  const listeners = listenKeys.filter(given);
  if (listeners.length > 0) checkTcpFronts(draft, listeners);
  else checkNoTcpFront(draft);
  if (listeners.length === 0 && !given('konnectivityUds')) {
    for (const key of Object.keys(sharesTable) as (keyof typeof sharesTable)[]) {
      if (given(key)) problem(`${label(key)} needs a front for konnectivity clients`);
    }
  }
  if (given('socks5RequireToken') && !given('socks5Listen')) {
    problem(`${label('socks5RequireToken')} is for --socks5-listen, which is not given`);
  }
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

function checkTcpFronts(draft: OptionsDraft<FrontTable>, listeners: readonly ListenKey[]): void {
  const { values, given, label, problem, warn } = draft;
  const missing = tlsKeys.filter((key) => !given(key));
  if (missing.length === 0) return;
  const needed = missing.map(label).join(' and ');
  if (missing.length < tlsKeys.length) {
    problem(`TLS on ${listeners.map(label).join(' and ')} also needs ${needed}`);
    return;
  }
  for (const key of listeners) {
    const listen = values[key];
    if (listen === undefined) continue;
    const address = formatHostPort(listen);
    if (!isLoopback(listen.host)) {
      problem(
        `${label(key)}=${address} can be reached from other machines but no client is asked for credentials, ` +
          `give ${needed}, or listen on 127.0.0.1`,
      );
    } else if (key === 'konnectivityListen' || values.socks5RequireToken !== true) {
      warn(
        `no --konnectivity-client-ca: every process on this machine may reach every cluster through ${address}`,
      );
    }
  }
}
