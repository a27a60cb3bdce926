import { hostname } from 'node:os';
import { type HostWithOptionalPort, isLoopback } from '../base/net/host-port.ts';
import {
  type BrokerAccess,
  brokerAccess,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import { checkTogether } from '../base/options/check-together.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { agentPassthroughTable } from '../base/options/passthrough-options.ts';
import { processId, type ProgramOptions } from '../base/options/process-options.ts';
import { omitOptions, type OptionsDraft, readOptions } from '../base/options/read-options.ts';
import { ValueError } from '../base/value-error.ts';

/** A Service of the hub cluster, written `NAMESPACE/SCHEME:SERVICE:PORTNAME`. */
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

/** How an agent reaches its broker, and the credential that it presents. */
export const agentLinkTable = {
  brokerUrl: optionalUrl,
  brokerViaHub: {
    name: 'broker-via-hub',
    kind: 'parsed',
    parse: parseHubService,
    placeholder: 'NAMESPACE/SCHEME:SERVICE:PORT',
    help: 'The Service of the broker on the hub, instead of --broker-url. The agent reaches it through the kube-apiserver of the hub and needs --hub-kubeconfig.',
  },
  hubKubeconfig: {
    name: 'hub-kubeconfig',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A kubeconfig for the hub. The file is read again when it changes. Without --certificate-dir, its token is also the credential for the broker.',
  },
  certificateDir: {
    name: 'certificate-dir',
    kind: 'string',
    placeholder: 'DIR',
    help: 'A directory with tls.crt and tls.key from the registration with the hub. They are the credential for the broker and are read again at every connect.',
  },
  certificateFile: {
    name: 'certificate-file',
    kind: 'file',
    help: 'Certificate chain (PEM) that is the credential for the broker, instead of --certificate-dir. It is read again at every connect.',
  },
  certificateKeyFile: {
    name: 'certificate-key-file',
    kind: 'file',
    help: 'Private key (PEM) of --certificate-file.',
  },
  ...otherLinkTable,
} as const satisfies OptionsTable;

/** How an agent reports its state. */
export const agentHealthTable = {
  lease: {
    name: 'lease',
    kind: 'parsed',
    parse: parseLeaseName,
    placeholder: 'NAMESPACE/NAME',
    help: 'A Lease in the cluster in which the agent runs. The agent renews it every minute while the broker answers through a tunnel.',
  },
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'The address of /healthz, /readyz (at least one tunnel is established) and /metrics, over plain HTTP. Default: none.',
  },
} as const satisfies OptionsTable;

const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';

/** How an agent makes HTTP requests for gateways. */
export const agentHttpTable = {
  kubeCaFile: {
    name: 'kube-ca-file',
    kind: 'string',
    placeholder: 'FILE',
    default: `${serviceAccountDirectory}/ca.crt`,
    help: 'The CA (PEM) of the kube-apiserver and of Services with https, for requests through a gateway. The file is read again at every connect.',
  },
  kubeTokenFile: {
    name: 'kube-token-file',
    kind: 'string',
    placeholder: 'FILE',
    default: `${serviceAccountDirectory}/token`,
    help: 'The token with which the agent impersonates users and reviews tokens for a gateway, and looks up named ports of Services. The file is read again every 10 seconds.',
  },
  serviceCaFile: {
    name: 'service-ca-file',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A further CA (PEM) of Services with https. The file is read again at every connect. It may be missing.',
  },
  enableImpersonation: {
    name: 'enable-impersonation',
    kind: 'boolean',
    default: 'true',
    help: 'Whether a gateway may let the agent impersonate users of the hub. The agent never impersonates nodes, the control plane or the group system:masters.',
  },
} as const satisfies OptionsTable;

export const agentTable = {
  ...agentLinkTable,
  ...agentHealthTable,
  ...agentHttpTable,
  cluster: {
    name: 'cluster',
    kind: 'clusterName',
    required: true,
    help: 'The name of the cluster in which the agent runs, as in its token or certificate.',
  },
  installNamespace: {
    name: 'install-namespace',
    kind: 'dnsLabel',
    help: 'The namespace in which the agent runs. Clients can then write CLUSTER.NAMESPACE instead of CLUSTER.',
  },
  agentId: {
    name: 'agent-id',
    kind: 'string',
    placeholder: 'ID',
    default: { help: 'the host name and random letters', make: () => processId(hostname()) },
    help: 'The name of this process among the agents of the cluster. It must be unique.',
  },
  ...agentPassthroughTable,
  enableKubeApiProxy: {
    name: 'enable-kube-api-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Whether the name of the cluster leads to --kube-apiserver. If false, clients reach only the destinations of --allow.',
  },
} as const satisfies OptionsTable;

/** Rows that `startAgent` gets in another form. */
const derivedKeys = [
  ...(['token', 'tokenFile', 'header', 'headerFile', 'zone'] as const),
  ...(['kubeApiserver', 'enableKubeApiProxy', 'logLevel'] as const),
] as const;

/**
 * The options of `startAgent`: a property for each row of `agentTable`. `readToken` and
 * `readHeaders` replace the rows with credentials.
 */
export interface AgentOptions
  extends BrokerAccess, Omit<OptionsOf<typeof agentTable>, (typeof derivedKeys)[number]> {
  /**
   * The destination that the cluster's own name leads to. Without a port, the client's port is
   * used. Undefined: it leads nowhere.
   */
  readonly kubeApiserver: HostWithOptionalPort | undefined;
}

/**
 * Reads the options of `culvert agent`.
 *
 * @throws ConfigError with all problems together
 */
export function readAgentOptions(argv: readonly string[], env: Env): ProgramOptions<AgentOptions> {
  const { values, warnings } = readOptions(agentTable, argv, env, checkAgent);
  const options: AgentOptions = Object.freeze({
    ...omitOptions(values, derivedKeys),
    ...brokerAccess(values, env),
    kubeApiserver: values.enableKubeApiProxy ? values.kubeApiserver : undefined,
  });
  return { options, logLevel: values.logLevel, warnings };
}

function checkAgent(draft: OptionsDraft<typeof agentTable>): void {
  checkBrokerLink(draft);
  checkTogether(draft, 'certificateFile', 'certificateKeyFile');
  const { given, label, problem } = draft;
  if (given('certificateDir') && given('certificateFile')) {
    problem(`${label('certificateDir')} and ${label('certificateFile')} are both given, keep one`);
  }
  checkRoute(draft);
}

function checkRoute({ values, given, label, problem }: OptionsDraft<typeof agentTable>): void {
  const { brokerUrl } = values;
  if (given('brokerUrl') === given('brokerViaHub')) {
    problem(
      given('brokerUrl')
        ? `${label('brokerUrl')} and ${label('brokerViaHub')} are both given, keep the one that agents should use`
        : `${label('brokerUrl')} is required (or CULVERT_BROKER_URL), or ${label('brokerViaHub')}`,
    );
  }
  if (given('brokerViaHub') && !given('hubKubeconfig')) {
    problem(`${label('brokerViaHub')} needs ${label('hubKubeconfig')} as well`);
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
  for (const key of ['certificateDir', 'certificateFile', 'hubKubeconfig'] as const) {
    if (!isPlain || !given(key)) continue;
    problem(
      `${label('brokerUrl')}=${brokerUrl.origin} would show the credential of ${label(key)} unencrypted, use wss:// (ws:// is for loopback addresses)`,
    );
  }
}

function parseHubService(text: string): HubService {
  const [, namespace, service] =
    /^([a-z0-9-]{1,63})\/(https?:[a-z0-9-]{1,63}:[a-z0-9-]{1,63})$/.exec(text) ?? [];
  if (namespace === undefined || service === undefined) {
    throw new ValueError(
      'is not NAMESPACE/SCHEME:SERVICE:PORT (hub/https:proxy-entrypoint:agent-server)',
    );
  }
  return { namespace, service };
}

function parseLeaseName(text: string): LeaseName {
  const [, namespace, name] = /^([a-z0-9-]{1,63})\/([a-z0-9.-]{1,253})$/.exec(text) ?? [];
  if (namespace === undefined || name === undefined) {
    throw new ValueError('is not NAMESPACE/NAME');
  }
  return { namespace, name };
}
