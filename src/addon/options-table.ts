import { defaultInstallNamespace } from './api/names.ts';
import { processTable } from '../base/options/process-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';

export const addonTable = {
  metricsBindAddress: {
    name: 'metrics-bind-address',
    kind: 'string',
    placeholder: '[HOST]:PORT',
    default: ':58080',
    help: 'Where metrics are served; without a host on every address, 0 for nowhere.',
  },
  healthProbeBindAddress: {
    name: 'health-probe-bind-address',
    kind: 'string',
    placeholder: '[HOST]:PORT',
    default: ':58081',
    help: 'Where /healthz and /readyz are answered; without a host on every address, 0 for nowhere.',
  },
  leaderElect: {
    name: 'leader-elect',
    kind: 'boolean',
    help: 'Work only while holding a lease, so that several can stand ready.',
  },
  kubeconfig: {
    name: 'kubeconfig',
    kind: 'file',
    help: 'How to reach the hub from outside of it. In a pod the ServiceAccount is used.',
  },
} as const satisfies OptionsTable;

export const addonCertificatesTable = {
  signerSecretNamespace: {
    name: 'signer-secret-namespace',
    kind: 'dnsLabel',
    default: 'default',
    help: 'The namespace of the Secrets that hold CA keys.',
  },
  signerSecretName: {
    name: 'signer-secret-name',
    kind: 'string',
    placeholder: 'NAME',
    default: 'cluster-proxy-signer',
    help: 'The Secret with the CA of brokers and konnectivity clients. It is made where there is none.',
  },
} as const satisfies OptionsTable;

export const addonAgentTable = {
  agentImageName: {
    name: 'agent-image-name',
    kind: 'string',
    placeholder: 'IMAGE',
    help: 'The image of agents. Without it, the one that the ManagedProxyConfiguration names.',
  },
  agentInstallNamespace: {
    name: 'agent-install-namespace',
    kind: 'dnsLabel',
    default: defaultInstallNamespace,
    help: 'Where agents are installed, unless an AddOnDeploymentConfig names another namespace.',
  },
  enableKubeApiProxy: {
    name: 'enable-kube-api-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Whether the name of a cluster leads to its kube-apiserver. Otherwise agents reach only what spec.proxyAgent.allow names; an AddOnDeploymentConfig may say otherwise.',
  },
  enableServiceProxy: {
    name: 'enable-service-proxy',
    kind: 'boolean',
    default: 'true',
    help: 'Accepted for the sake of existing deployments: there is no user-server yet, so it does nothing.',
  },
  enableNetworkPolicies: {
    name: 'enable-network-policies',
    kind: 'boolean',
    default: 'false',
    help: 'Make NetworkPolicies for brokers and agents.',
  },
  apiServerPort: {
    name: 'api-server-ports',
    kind: 'integer',
    min: 1,
    max: 65_535,
    repeatable: true,
    help: 'A TCP port at which the kube-apiservers of the hub and of managed clusters listen: NetworkPolicies allow egress to it. Without one they allow every TCP port.',
  },
  imagePullPolicy: {
    name: 'image-pull-policy',
    kind: 'choice',
    choices: ['Always', 'IfNotPresent', 'Never'],
    default: 'IfNotPresent',
    help: 'Of the brokers: Always, IfNotPresent or Never.',
  },
  imagePullSecrets: {
    name: 'image-pull-secrets',
    kind: 'string',
    placeholder: 'NAME',
    repeatable: true,
    help: 'A Secret beside the brokers that their image is pulled with.',
  },
  featureGates: {
    name: 'feature-gates',
    kind: 'string',
    placeholder: 'NAME=BOOL',
    repeatable: true,
    help: 'Switches of what is not settled: ClusterProfile=true is accepted and does nothing yet.',
  },
} as const satisfies OptionsTable;

/** For several brokers. What `spec.proxyServer.redis` of the ManagedProxyConfiguration says comes first. */
export const addonRedisTable = {
  redisUrl: {
    name: 'redis-url',
    kind: 'string',
    placeholder: 'URL',
    help: 'The Redis of several brokers, without password. The ManagedProxyConfiguration may name another.',
  },
  redisSecretName: {
    name: 'redis-secret-name',
    kind: 'string',
    placeholder: 'NAME',
    help: 'Instead of --redis-url: a Secret beside the brokers with the whole URL, password included, in its key url.',
  },
  redisCaSecretName: {
    name: 'redis-ca-secret-name',
    kind: 'string',
    placeholder: 'NAME',
    help: 'A Secret beside the brokers whose key ca.crt is trusted for rediss://.',
  },
} as const satisfies OptionsTable;

/** What every process has, except for what only a process with streams has. */
export const addonProcessTable = {
  logLevel: processTable.logLevel,
} as const satisfies OptionsTable;
