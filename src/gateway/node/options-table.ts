import { oidcOptionsOf, oidcTable } from '../../access/node/oidc-options-table.ts';
import { isDnsLabel } from '../../base/names/cluster-name.ts';
import { formatHostPort, isLoopback } from '../../base/net/host-port.ts';
import { checkTogether } from '../../base/options/check-together.ts';
import type { OptionsOf, OptionsTable } from '../../base/options/option-table.ts';
import type { OptionsDraft } from '../../base/options/read-options.ts';
import type { TrustedProxies } from '../../base/server/trusted-proxies.ts';
import { defaultTlsPolicy } from '../../base/tls/tls-policy.ts';
import { ValueError } from '../../base/value-error.ts';
import { defaultUserLimits } from '../user-limits.ts';
import type { NamespacedName } from './exposed-services-source.ts';
import type { GatewayOptions } from './start-gateway.ts';

/** Options of the gateway, in a broker's process and in its own. */
export const gatewayTable = {
  gatewayListen: {
    name: 'gateway-listen',
    kind: 'hostPort',
    help: 'The address at which HTTP clients such as kubectl reach clusters: /CLUSTER/api/... An address that other machines can reach needs the two TLS files.',
  },
  gatewayTlsCert: {
    name: 'gateway-tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --gateway-listen. The file is read again when it changes.',
  },
  gatewayTlsKey: {
    name: 'gateway-tls-key',
    kind: 'file',
    help: 'Private key (PEM) of --gateway-tls-cert.',
  },
  gatewayClientCa: {
    name: 'gateway-client-ca',
    kind: 'file',
    holdsCasOf: 'clients',
    help: 'The CAs (PEM) that issue the certificates of HTTP clients. A client with such a certificate and without a token is impersonated: its common name is the user, its organizations are the groups.',
  },
  gatewayDomain: {
    name: 'gateway-domain',
    kind: 'parsed',
    parse: parseDomain,
    placeholder: 'DOMAIN',
    help: 'The domain of the second URL form: https://CLUSTER.DOMAIN/ leads to the cluster without a path prefix. It needs a wildcard DNS record and certificate. Default: only the path form.',
  },
  exposedServices: {
    name: 'exposed-services',
    kind: 'file',
    help: 'A YAML list of the Services that clients reach by path (namespace, service, port, protocol, clusters, hubTokens). The file is read again when it changes. Default: no Services.',
  },
  exposedServicesConfigmap: {
    name: 'exposed-services-configmap',
    kind: 'parsed',
    parse: parseConfigMapName,
    placeholder: 'NAMESPACE/NAME',
    help: 'A ConfigMap of the hub cluster with such lists, one per key, as Cluster Proxy has it. It needs --kubernetes or --kubeconfig.',
  },
  clusterSettingsConfigmap: {
    name: 'cluster-settings-configmap',
    kind: 'parsed',
    parse: parseConfigMapName,
    placeholder: 'NAMESPACE/NAME',
    help: 'A ConfigMap of the hub cluster in which the addon manager says, for each cluster, whether tokens of the hub and of an OIDC issuer are accepted. While it is missing, nobody is authenticated. It needs --kubernetes or --kubeconfig.',
  },
  ...oidcTable,
  gatewayMinDrainMs: {
    name: 'gateway-min-drain',
    kind: 'durationMs',
    default: '10s',
    help: 'How long --gateway-listen accepts connections after SIGTERM, while load balancers learn that /readyz fails. At most --drain-timeout.',
  },
  gatewayMaxRequests: {
    name: 'gateway-max-requests',
    kind: 'integer',
    min: 1,
    default: String(defaultUserLimits.maxConcurrent),
    help: 'The most requests of one user at the same time. Twice as many wait, and further requests get a 429.',
  },
  gatewayMaxWatches: {
    name: 'gateway-max-watches',
    kind: 'integer',
    min: 1,
    default: String(defaultUserLimits.maxLongRunning),
    help: 'The most watches, followed logs, exec sessions and other upgrades of one user at the same time.',
  },
} as const satisfies OptionsTable;

type GatewayTable = typeof gatewayTable;

/** A gateway in a broker's process shares these rows with the broker. */
interface SharedValues {
  readonly trustedProxies?: TrustedProxies | undefined;
}

/** The gateway that the options ask for; undefined: none. */
export function gatewayOptions(
  values: OptionsOf<GatewayTable> & SharedValues,
  tlsPolicy = defaultTlsPolicy,
): GatewayOptions | undefined {
  const { gatewayListen: listen, gatewayTlsCert: certFile, gatewayTlsKey: keyFile } = values;
  if (listen === undefined) return undefined;
  const { gatewayClientCa: clientCaFile, gatewayMaxRequests: maxConcurrent } = values;
  const { options: oidc } = oidcOptionsOf(values);
  return Object.freeze({
    listen,
    tls: certFile && keyFile ? { certFile, keyFile, clientCaFile } : undefined,
    tlsPolicy,
    domain: values.gatewayDomain,
    exposedServicesFile: values.exposedServices,
    exposedServicesConfigMap: values.exposedServicesConfigmap,
    clusterSettingsConfigMap: values.clusterSettingsConfigmap,
    oidc: oidc && { options: oidc, caFile: values.oidcCaFile },
    minDrainMs: values.gatewayMinDrainMs,
    trustedProxies: values.trustedProxies,
    userLimits: {
      ...defaultUserLimits,
      maxConcurrent,
      maxQueued: 2 * maxConcurrent,
      maxLongRunning: values.gatewayMaxWatches,
    },
  });
}

/** Problems between the options of `gatewayTable`. */
export function checkGateway(
  draft: OptionsDraft<GatewayTable>,
  { hasApiServer, drainTimeoutMs }: { hasApiServer: boolean; drainTimeoutMs: number | undefined },
): void {
  const { values, given, label, problem, warn } = draft;
  const { gatewayListen: listen, gatewayMinDrainMs = 0 } = values;
  if (!given('gatewayListen')) {
    for (const key of Object.keys(gatewayTable) as (keyof GatewayTable)[]) {
      if (given(key)) problem(`${label(key)} is for --gateway-listen, which is not given`);
    }
    return;
  }
  checkTogether(draft, 'gatewayTlsCert', 'gatewayTlsKey');
  if (given('gatewayClientCa') && !given('gatewayTlsCert')) {
    problem(`${label('gatewayClientCa')} needs ${label('gatewayTlsCert')} as well`);
  }
  for (const key of ['exposedServicesConfigmap', 'clusterSettingsConfigmap'] as const) {
    if (given(key) && !hasApiServer) {
      problem(`${label(key)} needs --kubernetes or --kubeconfig as well`);
    }
  }
  for (const found of oidcProblems(draft)) problem(found);
  if (given('gatewayMinDrainMs') && gatewayMinDrainMs > (drainTimeoutMs ?? Infinity)) {
    problem(`${label('gatewayMinDrainMs')} must not be longer than --drain-timeout`);
  }
  if (listen === undefined || given('gatewayTlsCert')) return;
  const address = formatHostPort(listen);
  if (isLoopback(listen.host)) {
    warn(`no --gateway-tls-cert: ${address} serves HTTP without TLS on this machine`);
  } else {
    problem(
      `${label('gatewayListen')}=${address} would carry tokens unencrypted, give --gateway-tls-cert and --gateway-tls-key, or listen on 127.0.0.1`,
    );
  }
}

/** Empty while values are missing because their texts are wrong, which is reported already. */
function oidcProblems({ values }: OptionsDraft<GatewayTable>): readonly string[] {
  const { oidcRequiredClaim, oidcUsernameClaim, oidcReservedNamePrefixes, oidcSigningAlgs } =
    values;
  if (oidcRequiredClaim === undefined || oidcUsernameClaim === undefined) return [];
  if (oidcReservedNamePrefixes === undefined || oidcSigningAlgs === undefined) return [];
  const known = { oidcRequiredClaim, oidcUsernameClaim, oidcReservedNamePrefixes, oidcSigningAlgs };
  return oidcOptionsOf({ ...values, ...known }).problems;
}

function parseDomain(text: string): string {
  const domain = text.toLowerCase();
  if (domain.split('.').every(isDnsLabel)) return domain;
  throw new ValueError('is not a domain (clusters.example.com)');
}

function parseConfigMapName(text: string): NamespacedName {
  const [namespace = '', name = '', ...rest] = text.split('/');
  const isName = rest.length === 0 && isDnsLabel(namespace) && name.split('.').every(isDnsLabel);
  if (isName) return { namespace, name };
  throw new ValueError('is not NAMESPACE/NAME');
}
