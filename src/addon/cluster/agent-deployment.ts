import { formatHostPort } from '../../base/net/host-port.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { agentSecrets } from '../api/agent-identity.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import { deploymentSpec, type FileMount, podSpec } from '../api/objects.ts';
import { contentHash } from '../api/spec-hash.ts';
import {
  agentCaSecret,
  agentContainerName,
  agentServiceAccount,
  agentStatusPort,
} from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';

/** Cluster Proxy's selector. The API server does not allow a Deployment to change its selector. */
export const agentPodLabels = {
  [labels.addon]: addonName,
  [labels.component]: 'proxy-agent',
} as const;

/** Time for the process to exit after its drain, before the kubelet kills it. */
const exitGraceSeconds = 10;

/**
 * Secrets that the agent reads, by the names of their volumes. The agent reads the files again when
 * they change.
 */
const secretMounts: readonly FileMount[] = [
  ['ca', '/etc/ca', { secret: { secretName: agentCaSecret } }],
  ['hub', '/etc/tls', { secret: { secretName: agentSecrets.certificate } }],
  ['hub-kubeconfig', '/etc/kubeconfig', { secret: { secretName: agentSecrets.hubKubeconfig } }],
];

const serviceCaPath = '/additional-service-ca';

/**
 * The Deployment of the agent.
 *
 * The generation of the ManagedProxyConfiguration is an annotation of the Deployment alone. In the
 * pod template, each edit would replace the agents of all clusters, even an edit that concerns only
 * the hub. The template has a hash of the pod spec instead.
 */
export function agentDeployment(values: AgentValues): KubeObject {
  const pod = agentPod(values);
  const metadata = {
    name: values.deploymentName,
    namespace: values.installNamespace,
    labels: agentPodLabels,
    annotations: { [annotations.configurationGeneration]: String(values.generation) },
  };
  const spec = deploymentSpec(values.replicas, agentPodLabels, pod, {
    [annotations.workloadManagement]: '{"effect": "PreferredDuringScheduling"}',
    [annotations.renderedHash]: contentHash(pod).slice(0, 16),
  });
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
}

function agentPod(values: AgentValues): object {
  const { imagePullSecrets, nodeSelector, tolerations } = values;
  const podAffinityTerm = {
    topologyKey: 'kubernetes.io/hostname',
    labelSelector: { matchLabels: agentPodLabels },
  };
  return {
    serviceAccountName: agentServiceAccount,
    terminationGracePeriodSeconds: Math.ceil(values.drainTimeoutMs / 1000) + exitGraceSeconds,
    ...podSpec(container(values), mountsOf(values), imagePullSecrets),
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(tolerations.length > 0 && { tolerations }),
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm }],
      },
    },
  };
}

function mountsOf({ serviceCaConfigMap: name }: AgentValues): readonly FileMount[] {
  if (name === undefined) return secretMounts;
  // As in Cluster Proxy, the agent starts without the ConfigMap.
  const configMap = { name, optional: true };
  return [...secretMounts, ['additional-service-ca', serviceCaPath, { configMap }]];
}

function container(values: AgentValues): object {
  const probe = (path: string) => ({
    httpGet: { path, port: agentStatusPort, scheme: 'HTTP' },
    periodSeconds: 10,
    timeoutSeconds: 5,
  });
  return {
    name: agentContainerName,
    image: values.image,
    imagePullPolicy: 'IfNotPresent',
    args: agentArguments(values),
    env: [
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ...Object.entries(values.proxyEnvironment).map(([name, value]) => ({
        name,
        value: escapeDollar(value),
      })),
    ],
    ports: [{ name: 'status', containerPort: agentStatusPort, protocol: 'TCP' }],
    livenessProbe: { ...probe('/healthz'), initialDelaySeconds: 10 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
    resources: values.resources,
  };
}

/** The command line of `culvert agent` in its container. */
export function agentArguments(values: AgentValues): readonly string[] {
  const { entrypoint, installNamespace, settings, allow, leadsToApiserver } = values;
  const broker =
    'viaHub' in entrypoint
      ? `--broker-via-hub=${entrypoint.viaHub}`
      : `--broker-url=wss://${formatHostPort(entrypoint)}`;
  return [
    'agent',
    `--cluster=${values.cluster}`,
    '--agent-id=$(POD_NAME)',
    broker,
    '--ca-file=/etc/ca/ca.crt',
    '--certificate-dir=/etc/tls',
    '--hub-kubeconfig=/etc/kubeconfig/kubeconfig',
    `--install-namespace=${installNamespace}`,
    `--lease=${installNamespace}/${addonName}`,
    `--status-listen=[::]:${agentStatusPort}`,
    ...[...settings].map(([name, value]) => `--${name}=${escapeDollar(value)}`),
    ...(leadsToApiserver ? [] : ['--enable-kube-api-proxy=false']),
    ...(values.isServed && !values.impersonates ? ['--enable-impersonation=false'] : []),
    ...(values.serviceCaConfigMap === undefined
      ? []
      : [`--service-ca-file=${serviceCaPath}/service-ca.crt`]),
    ...allow.map((target) => `--allow=${escapeDollar(target)}`),
  ];
}

/**
 * Kubernetes reads `$(NAME)` in arguments and variables as a reference and `$$` as a dollar. A
 * password may contain either.
 */
function escapeDollar(value: string): string {
  return value.replaceAll('$', '$$$$');
}
