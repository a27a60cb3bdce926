import { defaultInstallNamespace } from './api/names.ts';
import { processTable } from '../base/options/process-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { type HostPort, parseHostPort } from '../base/net/host-port.ts';
import { ValueError } from '../base/value-error.ts';
import { objectNameCheck, redisUrlCheck } from './configuration/text-checks.ts';
import type { TextCheck } from './api/field-problem.ts';

/**
 * A parser that refuses what `check` finds wrong. The sentences of these checks name the text
 * themselves, unless it is a secret.
 */
const checked =
  (check: TextCheck) =>
  (text: string): string => {
    const problem = check(text);
    if (problem !== undefined) throw new ValueError(problem, { withoutText: true });
    return text;
  };
const objectName = {
  kind: 'parsed',
  parse: checked(objectNameCheck),
  placeholder: 'NAME',
} as const;
/** An address to listen on. Without a host, it is every address of the machine. */
export type ListenAddress = Partial<Pick<HostPort, 'host'>> & Pick<HostPort, 'port'>;

/** Reads `HOST:PORT` and Go's `:PORT`. `0` means nowhere. @throws ValueError */
function parseListenAddress(text: string): ListenAddress | undefined {
  if (text === '0') return undefined;
  try {
    if (!text.startsWith(':')) return Object.freeze(parseHostPort(text));
    const { port } = parseHostPort(`every${text}`);
    return Object.freeze({ port });
  } catch {
    throw new ValueError('is not [HOST]:PORT (:58080, 127.0.0.1:58080), nor 0 for nowhere');
  }
}

const listenAddress = {
  kind: 'parsed',
  parse: parseListenAddress,
  placeholder: '[HOST]:PORT',
} as const;

export const addonTable = {
  metricsListen: {
    name: 'metrics-bind-address',
    ...listenAddress,
    default: ':58080',
    help: 'The address of /metrics. Without a host: every address of the machine. 0: none.',
  },
  healthListen: {
    name: 'health-probe-bind-address',
    ...listenAddress,
    default: ':58081',
    help: 'The address of /healthz and /readyz. Without a host: every address of the machine. 0: none.',
  },
  leaderElect: {
    name: 'leader-elect',
    kind: 'boolean',
    help: 'Works only while this process holds a lease, so that several processes can be ready to take over.',
  },
  kubeconfig: {
    name: 'kubeconfig',
    kind: 'file',
    help: 'A kubeconfig for the hub, outside a pod. In a pod, the ServiceAccount is used.',
  },
} as const satisfies OptionsTable;

export const addonCertificatesTable = {
  signerSecretNamespace: {
    name: 'signer-secret-namespace',
    kind: 'dnsLabel',
    default: 'default',
    help: 'The namespace of the Secrets with the private keys of the CAs.',
  },
  signerSecretName: {
    name: 'signer-secret-name',
    ...objectName,
    default: 'cluster-proxy-signer',
    help: 'The Secret with the CA of brokers and konnectivity clients. It is created when it does not exist.',
  },
} as const satisfies OptionsTable;

export const addonAgentTable = {
  agentImage: {
    name: 'agent-image-name',
    kind: 'string',
    placeholder: 'IMAGE',
    help: 'The image of agents. Default: the image in the ManagedProxyConfiguration.',
  },
  agentInstallNamespace: {
    name: 'agent-install-namespace',
    kind: 'dnsLabel',
    default: defaultInstallNamespace,
    help: 'The namespace of agents, unless an AddOnDeploymentConfig names another namespace.',
  },
  enableKubeApiProxy: {
    name: 'enable-kube-api-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Whether the name of a cluster leads to its kube-apiserver. If false, clients reach only the destinations in spec.proxyAgent.allow. An AddOnDeploymentConfig can override this.',
  },
  enableServiceProxy: {
    name: 'enable-service-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Whether brokers serve kubectl and other HTTP clients at port 9092 (the user-server of Cluster Proxy). They need the Secret cluster-proxy-user-serving-cert.',
  },
  enableImpersonation: {
    name: 'enable-impersonation',
    kind: 'boolean',
    default: 'true',
    help: 'Whether users of the hub are impersonated in managed clusters. An AddOnDeploymentConfig can override this.',
  },
  exposedServicesConfigmap: {
    name: 'exposed-services-configmap',
    ...objectName,
    default: 'cluster-proxy-exposed-services',
    help: 'The ConfigMap in the namespace of the brokers with the Services that HTTP clients may reach.',
  },
  enableNetworkPolicies: {
    name: 'enable-network-policies',
    kind: 'boolean',
    default: 'false',
    help: 'Creates NetworkPolicies for brokers and agents.',
  },
  apiServerPorts: {
    name: 'api-server-ports',
    kind: 'integer',
    min: 1,
    max: 65_535,
    repeatable: true,
    help: 'A TCP port of the kube-apiservers of the hub and of managed clusters. NetworkPolicies allow egress to it. Default: every TCP port.',
  },
  imagePullPolicy: {
    name: 'image-pull-policy',
    kind: 'choice',
    choices: ['Always', 'IfNotPresent', 'Never'],
    default: 'IfNotPresent',
    help: 'The image pull policy of brokers: Always, IfNotPresent or Never.',
  },
  imagePullSecrets: {
    name: 'image-pull-secrets',
    ...objectName,
    repeatable: true,
    help: 'A Secret in the namespace of the brokers with credentials for their image registry.',
  },
  featureGates: {
    name: 'feature-gates',
    kind: 'string',
    placeholder: 'NAME=BOOL',
    repeatable: true,
    help: 'Switches for features that may still change. ClusterProfile=true writes access providers into the status of ClusterProfiles.',
  },
} as const satisfies OptionsTable;

/**
 * For several brokers. What `spec.proxyServer.redis` of the ManagedProxyConfiguration says comes
 * first.
 */
export const addonRedisTable = {
  redisUrl: {
    name: 'redis-url',
    kind: 'parsed',
    parse: checked(redisUrlCheck),
    placeholder: 'URL',
    help: 'The Redis that the brokers share, without a password. The ManagedProxyConfiguration can name another Redis.',
  },
  redisSecretName: {
    name: 'redis-secret-name',
    ...objectName,
    help: 'A Secret in the namespace of the brokers, instead of --redis-url. Its key `url` has the whole URL, including a password.',
  },
  redisCaSecretName: {
    name: 'redis-ca-secret-name',
    ...objectName,
    help: 'A Secret in the namespace of the brokers. CA certificates in its key ca.crt are trusted for rediss://.',
  },
} as const satisfies OptionsTable;

/** A part of the options of every process: the addon manager has no streams to drain. */
export const addonProcessTable = {
  logLevel: processTable.logLevel,
} as const satisfies OptionsTable;

export const allAddonTable = {
  ...addonTable,
  ...addonCertificatesTable,
  ...addonAgentTable,
  ...addonRedisTable,
  ...addonProcessTable,
} as const;
