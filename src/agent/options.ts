import { hostname } from 'node:os';
import { type OptionsDraft, readOptions } from '../base/options/read-options.ts';
import {
  type BrokerLinkOptions,
  brokerAccessOptions,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import { processId, type ProgramOptions } from '../base/options/process-options.ts';
import { agentOperatorTable } from '../base/options/passthrough-options.ts';
import type { Env, OptionsTable } from '../base/options/option-table.ts';
import { type HostWithOptionalPort, type HostPort, isLoopback } from '../base/net/host-port.ts';
import { readProxyEnvironment } from '../base/net/proxy-environment.ts';

/** What `startAgent` is told. */
export interface AgentOptions extends Omit<BrokerLinkOptions, 'brokerUrl'> {
  /** Where the broker is; undefined where `brokerViaHub` says it. */
  readonly brokerUrl: URL | undefined;
  /** The broker's Service, reached through the API server of the hub; with `hubKubeconfig`. */
  readonly brokerViaHub?: HubService | undefined;
  /** How the agent is known to the API server of the hub. */
  readonly hubKubeconfig?: string | undefined;
  /** Directory with `tls.crt` and `tls.key` of the registration, read anew at each connect. */
  readonly certificateDir?: string | undefined;
  /** Renewed in this cluster while a tunnel works. */
  readonly lease?: LeaseName | undefined;
  /** Where probes ask, without TLS. */
  readonly statusListen?: HostPort | undefined;
  /** The cluster that this agent speaks for; a DNS label, as in its token. */
  readonly cluster: string;
  /** The namespace that the agent runs in, the second half of the cluster's name `<cluster>.<install namespace>`. */
  readonly installNamespace?: string | undefined;
  /** Names this process among the agents of the cluster; unique. */
  readonly agentId: string;
  /** Destinations that may be dialled besides `kubeApiserver`: `host:port`, `*.suffix:port`, `host:*`, `CIDR:port`. */
  readonly allow: readonly string[];
  /** What the cluster's own name stands for; without a port, the one that was asked for is used. Undefined: for nothing. */
  readonly kubeApiserver: HostWithOptionalPort | undefined;
  /** How many tunnels to keep, each to another replica of the broker: 1 or 2. */
  readonly tunnels: number;
  /** How long a target may take to accept a connection, in milliseconds. */
  readonly dialTimeoutMs: number;
  /** How long streams may go on after a drain began, in milliseconds. */
  readonly drainTimeoutMs: number;
}

/** `NAMESPACE/SCHEME:SERVICE:PORTNAME` */
export interface HubService {
  readonly namespace: string;
  /** `https:proxy-entrypoint:agent-server`, as the API server's service proxy takes it. */
  readonly service: string;
}

export interface LeaseName {
  readonly namespace: string;
  readonly name: string;
}

const { brokerUrl, ...otherLinkTable } = brokerLinkTable;
const { required: _, ...optionalUrl } = brokerUrl;

/** How an agent reaches its broker, and what it shows. */
export const agentLinkTable = {
  brokerUrl: optionalUrl,
  brokerViaHub: {
    name: 'broker-via-hub',
    kind: 'string',
    placeholder: 'NAMESPACE/SCHEME:SERVICE:PORT',
    help: 'Instead of --broker-url: the Service of the broker, reached through the kube-apiserver of the hub with --hub-kubeconfig.',
  },
  hubKubeconfig: {
    name: 'hub-kubeconfig',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A kubeconfig for the hub, read anew when it changes. Its token is shown to the broker where there is no certificate.',
  },
  certificateDir: {
    name: 'certificate-dir',
    kind: 'string',
    placeholder: 'DIR',
    help: 'Holds tls.crt and tls.key of the registration with the hub: shown to the broker, and read anew at every connect.',
  },
  ...otherLinkTable,
} as const satisfies OptionsTable;

/** What tells others how an agent is. */
export const agentHealthTable = {
  lease: {
    name: 'lease',
    kind: 'string',
    placeholder: 'NAMESPACE/NAME',
    help: 'A Lease in the cluster that this runs in, renewed every minute while the broker answers through a tunnel.',
  },
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'Serves /healthz, /readyz (a tunnel stands) and /metrics over plain HTTP, for probes.',
  },
} as const satisfies OptionsTable;

export const agentTable = {
  ...agentLinkTable,
  ...agentHealthTable,
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    required: true,
    help: 'The cluster that this agent speaks for, as its token names it.',
  },
  installNamespace: {
    name: 'install-namespace',
    kind: 'dnsLabel',
    help: 'The namespace that this runs in: CLUSTER.NAMESPACE then is a destination like CLUSTER. No other namespace is.',
  },
  agentId: {
    name: 'agent-id',
    kind: 'string',
    placeholder: 'ID',
    default: { help: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'Names this process among the agents of the cluster.',
  },
  ...agentOperatorTable,
  enableKubeApiProxy: {
    name: 'enable-kube-api-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Whether the name of the cluster leads to --kube-apiserver. Otherwise only what --allow names is reached.',
  },
} as const satisfies OptionsTable;

/**
 * Reads what `culvert agent` is given.
 *
 * @throws ConfigError with every problem there is
 */
export function readAgentOptions(argv: readonly string[], env: Env): ProgramOptions<AgentOptions> {
  const { values, warnings } = readOptions(agentTable, argv, env, checkAgent);
  const {
    cluster,
    installNamespace,
    agentId,
    allow,
    kubeApiserver,
    dialTimeoutMs,
    tunnels,
    drainTimeoutMs,
    logLevel,
    hubKubeconfig,
    certificateDir,
    statusListen,
  } = values;
  const options: AgentOptions = Object.freeze({
    ...brokerAccessOptions(values, readProxyEnvironment(env)),
    brokerUrl: values.brokerUrl,
    brokerViaHub: parseHubService(values.brokerViaHub),
    hubKubeconfig,
    certificateDir,
    lease: parseLeaseName(values.lease),
    statusListen,
    cluster,
    installNamespace,
    agentId,
    allow,
    kubeApiserver: values.enableKubeApiProxy ? kubeApiserver : undefined,
    dialTimeoutMs,
    tunnels,
    drainTimeoutMs,
  });
  return { options, logLevel, warnings };
}

function checkAgent(draft: OptionsDraft<typeof agentTable>): void {
  checkBrokerLink(draft);
  checkRoute(draft);
}

function checkRoute({ values, given, label, problem }: OptionsDraft<typeof agentTable>): void {
  const { brokerUrl, brokerViaHub, lease } = values;
  if (given('brokerUrl') === given('brokerViaHub')) {
    problem(
      given('brokerUrl')
        ? `${label('brokerUrl')} and ${label('brokerViaHub')} are both given, keep the one that agents shall take`
        : `${label('brokerUrl')} is required (or CULVERT_BROKER_URL), or ${label('brokerViaHub')}`,
    );
  }
  if (given('brokerViaHub') && !given('hubKubeconfig')) {
    problem(`${label('brokerViaHub')} needs ${label('hubKubeconfig')} as well`);
  }
  if (brokerViaHub !== undefined && parseHubService(brokerViaHub) === undefined) {
    problem(
      `${label('brokerViaHub')}=${JSON.stringify(brokerViaHub)} is not NAMESPACE/SCHEME:SERVICE:PORT (hub/https:proxy-entrypoint:agent-server)`,
    );
  }
  if (lease !== undefined && parseLeaseName(lease) === undefined) {
    problem(`${label('lease')}=${JSON.stringify(lease)} is not NAMESPACE/NAME`);
  }
  for (const key of ['tokenFile', 'token'] as const) {
    if (!given('brokerViaHub') || !given(key)) continue;
    problem(
      `${label(key)} does not pass the API server of the hub, with ${label('brokerViaHub')} give ${label('certificateDir')}`,
    );
  }
  for (const key of ['header', 'headerFile'] as const) {
    if (!given('brokerViaHub') || !given(key)) continue;
    problem(
      `${label(key)} is for a gateway in front of ${label('brokerUrl')}, it is not sent to the API server of the hub`,
    );
  }
  const isPlain = brokerUrl?.protocol === 'ws:' && !isLoopback(brokerUrl.hostname);
  for (const key of ['certificateDir', 'hubKubeconfig'] as const) {
    if (!isPlain || !given(key)) continue;
    problem(
      `${label('brokerUrl')}=${brokerUrl.origin} would show the credential of ${label(key)} unencrypted, use wss:// (ws:// is for loopback addresses)`,
    );
  }
}

function parseHubService(text = ''): HubService | undefined {
  const [, namespace, service] =
    /^([a-z0-9-]{1,63})\/(https?:[a-z0-9-]{1,63}:[a-z0-9-]{1,63})$/.exec(text) ?? [];
  return namespace === undefined || service === undefined ? undefined : { namespace, service };
}

function parseLeaseName(text = ''): LeaseName | undefined {
  const [, namespace, name] = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(text) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}
