import type { OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import type { OptionsDraft } from '../base/options/read-options.ts';
import type { TlsPolicy } from '../base/tls/tls-policy.ts';
import type { KonnectivityAgentsOptions } from './options.ts';
import { proxyStrategies, type ProxyStrategy } from './proxy-strategy.ts';

/** Options of a listener for standard agents, beside other programs' options in one process. */
export const konnectivityAgentsTable = {
  konnectivityAgentListen: {
    name: 'konnectivity-agent-listen',
    kind: 'hostPort',
    help: 'The address at which standard konnectivity agents connect (gRPC with TLS). It needs a certificate, its key and a way to authenticate agents.',
  },
  konnectivityAgentTlsCert: {
    name: 'konnectivity-agent-tls-cert',
    kind: 'file',
    help: 'Certificate chain (PEM) for --konnectivity-agent-listen.',
  },
  konnectivityAgentTlsKey: {
    name: 'konnectivity-agent-tls-key',
    kind: 'file',
    help: 'Private key (PEM) of --konnectivity-agent-tls-cert.',
  },
  konnectivityAgentCa: {
    name: 'konnectivity-agent-ca',
    kind: 'file',
    holdsCasOf: 'clients',
    help: "The CAs (PEM) that issue standard agents' certificates. With --cluster, every certificate of them is an agent of that cluster. Without it, the subject must name the cluster, as in certificates of a registration. Without this option agents need a token.",
  },
  konnectivityAgentNamespace: {
    name: 'konnectivity-agent-namespace',
    kind: 'string',
    placeholder: 'NAMESPACE',
    help: "With --cluster: standard agents need a token of a ServiceAccount in this namespace, which the API server of --kubernetes or --kubeconfig reviews. It needs the ServiceAccount's name and the audience, too.",
  },
  konnectivityAgentServiceAccount: {
    name: 'konnectivity-agent-service-account',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The name of the ServiceAccount in --konnectivity-agent-namespace.',
  },
  konnectivityAgentAudience: {
    name: 'konnectivity-agent-audience',
    kind: 'string',
    placeholder: 'AUDIENCE',
    help: 'The audience of the tokens of --konnectivity-agent-service-account.',
  },
  konnectivityAgentStrategies: {
    name: 'konnectivity-agent-strategies',
    kind: 'choice',
    choices: proxyStrategies,
    repeatable: true,
    help: 'How a standard agent of a cluster is chosen for a dial: by default any agent, by destHost an agent with the host as an identifier, by defaultRoute an agent with the identifier default-route=true. The first strategy that knows an agent decides. Without this option: default.',
  },
  serverId: {
    name: 'server-id',
    kind: 'string',
    placeholder: 'ID',
    default: 'culvert',
    help: 'The name of this server for standard agents. An agent keeps one connection for each name. Replicas that share their agents have the same name.',
  },
  serverCount: {
    name: 'server-count',
    kind: 'integer',
    min: 1,
    max: 1000,
    default: '1',
    help: 'The number of servers with different names. A standard agent connects until it has so many.',
  },
  serverLeaseNamespace: {
    name: 'server-lease-namespace',
    kind: 'dnsLabel',
    help: 'Publishes a Lease of this server in the namespace, for standard agents that run with `--count-server-leases`. Needs --kubernetes or --kubeconfig, with the verbs create, patch, list and delete on Leases. Default: none.',
  },
  serverLeaseLabel: {
    name: 'server-lease-label',
    kind: 'string',
    placeholder: 'KEY=VALUE',
    default: 'k8s-app=konnectivity-server',
    help: 'The label of the Leases of all servers.',
  },
} as const satisfies OptionsTable;

type Table = typeof konnectivityAgentsTable;
type Values = OptionsOf<Table>;

const defaultStrategies: readonly ProxyStrategy[] = ['default'];
const serviceAccountKeys = [
  'konnectivityAgentNamespace',
  'konnectivityAgentServiceAccount',
  'konnectivityAgentAudience',
] as const;

/** The listener that the options ask for; undefined: none. */
export function konnectivityAgentsOptions(
  values: Values & { readonly cluster?: string | undefined },
  tlsPolicy: TlsPolicy,
): KonnectivityAgentsOptions | undefined {
  const { konnectivityAgentListen: listen, cluster, serverId, serverCount } = values;
  const { serverLeaseNamespace: leaseNamespace } = values;
  const { konnectivityAgentTlsCert: certFile, konnectivityAgentTlsKey: keyFile } = values;
  if (listen === undefined || certFile === undefined || keyFile === undefined) return undefined;
  const [namespace, name, audience] = serviceAccountKeys.map((key) => values[key]);
  const { konnectivityAgentStrategies: given } = values;
  return Object.freeze({
    listen,
    tls: { certFile, keyFile, clientCaFile: values.konnectivityAgentCa },
    tlsPolicy,
    cluster,
    serviceAccount:
      namespace !== undefined && name !== undefined && audience !== undefined
        ? { namespace, name, audience }
        : undefined,
    strategies: given.length === 0 ? defaultStrategies : given,
    serverId,
    serverCount,
    ...(leaseNamespace !== undefined && {
      serverLease: { namespace: leaseNamespace, label: values.serverLeaseLabel },
    }),
  });
}

interface Surroundings {
  /** Whether the process can ask an API server about tokens. */
  readonly hasApiServer: boolean;
  /** Whether the process has keys or an API server that tell the cluster of a token. */
  readonly hasTokens: boolean;
  readonly hasCluster: boolean;
}

/** Reports options of `konnectivityAgentsTable` that do not fit together. */
export function checkKonnectivityAgents(
  draft: OptionsDraft<Table>,
  { hasApiServer, hasTokens, hasCluster }: Surroundings,
): void {
  const { given, label, problem } = draft;
  const listen = label('konnectivityAgentListen');
  const files = ['konnectivityAgentTlsCert', 'konnectivityAgentTlsKey'] as const;
  if (!given('konnectivityAgentListen')) {
    const agentCa = 'konnectivityAgentCa';
    for (const key of [...files, agentCa, ...serviceAccountKeys, 'serverLeaseNamespace'] as const) {
      if (given(key)) problem(`${label(key)} is for ${listen}, which is not given`);
    }
    return;
  }
  if (given('serverLeaseNamespace') && !hasApiServer) {
    problem(`${label('serverLeaseNamespace')} needs --kubernetes or --kubeconfig`);
  }
  const missing = files.filter((key) => !given(key));
  if (missing.length > 0) problem(`${listen} also needs ${missing.map(label).join(' and ')}`);
  const absent = serviceAccountKeys.filter((key) => !given(key));
  if (absent.length === serviceAccountKeys.length) {
    if (given('konnectivityAgentCa') || (hasTokens && !hasCluster)) return;
    problem(
      `${listen} needs a way to authenticate agents, give ${label('konnectivityAgentCa')}, or ${serviceAccountKeys.map(label).join(', ')}`,
    );
    return;
  }
  const namespace = label('konnectivityAgentNamespace');
  if (absent.length > 0) {
    problem(
      `${serviceAccountKeys.map(label).join(', ')} belong together, give ${absent.map(label).join(' and ')} as well`,
    );
  }
  if (given('konnectivityAgentCa')) {
    problem(`${label('konnectivityAgentCa')} and ${namespace} are both given, keep one`);
  }
  if (!hasCluster) problem(`${namespace} needs --cluster, because its tokens name no cluster`);
  if (!hasApiServer) problem(`${namespace} needs --kubernetes or --kubeconfig`);
}
