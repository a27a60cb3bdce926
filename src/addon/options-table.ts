import { defaultInstallNamespace } from './api/names.ts';
import { processTable } from '../base/options/process-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { ValueError } from '../base/value-error.ts';
import { objectNameCheck, redisUrlCheck } from './configuration/text-checks.ts';
import type { TextCheck } from './api/field-problem.ts';
import { parseListenAddress } from './listen-address.ts';

/** A parser that refuses what `check` finds wrong. The sentences of these checks name the text themselves, unless it is a secret. */
const checked =
  (check: TextCheck) =>
  (text: string): string => {
    const problem = check(text);
    if (problem !== undefined) throw new ValueError(problem, { withoutText: true });
    return text;
  };
const parseObjectName = checked(objectNameCheck);
const parseRedisUrl = checked(redisUrlCheck);

export const addonTable = {
  metricsListen: {
    name: 'metrics-bind-address',
    kind: 'parsed',
    parse: parseListenAddress,
    placeholder: '[HOST]:PORT',
    default: ':58080',
    help: 'Where metrics are served; without a host on every address, 0 for nowhere.',
  },
  healthListen: {
    name: 'health-probe-bind-address',
    kind: 'parsed',
    parse: parseListenAddress,
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
    kind: 'parsed',
    parse: parseObjectName,
    placeholder: 'NAME',
    default: 'cluster-proxy-signer',
    help: 'The Secret with the CA of brokers and konnectivity clients. It is made where there is none.',
  },
} as const satisfies OptionsTable;

export const addonAgentTable = {
  agentImage: {
    name: 'agent-image-name',
    kind: 'string',
    placeholder: 'IMAGE',
    help: 'The image of agents. The default is the image that the ManagedProxyConfiguration names.',
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
  apiServerPorts: {
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
    kind: 'parsed',
    parse: parseObjectName,
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
    kind: 'parsed',
    parse: parseRedisUrl,
    placeholder: 'URL',
    help: 'The Redis of several brokers, without password. The ManagedProxyConfiguration may name another.',
  },
  redisSecretName: {
    name: 'redis-secret-name',
    kind: 'parsed',
    parse: parseObjectName,
    placeholder: 'NAME',
    help: 'Instead of --redis-url: a Secret beside the brokers with the whole URL, password included, in its key url.',
  },
  redisCaSecretName: {
    name: 'redis-ca-secret-name',
    kind: 'parsed',
    parse: parseObjectName,
    placeholder: 'NAME',
    help: 'A Secret beside the brokers whose key ca.crt is trusted for rediss://.',
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
