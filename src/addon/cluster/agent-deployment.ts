import type { KubeObject } from '../../kube/kube-object.ts';
import { agentSecrets } from '../api/agent-identity.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import { contentHash } from '../api/spec-hash.ts';
import { agentArguments } from './agent-arguments.ts';
import {
  agentCaSecret,
  agentContainerName,
  agentServiceAccount,
  agentStatusPort,
} from './agent-names.ts';
import type { AgentValues } from './agent-values.ts';
import { literal } from './escape-dollar.ts';

/** Cluster Proxy's selector: it cannot be changed in a Deployment that is there already. */
export const agentPodLabels = {
  [labels.addon]: addonName,
  [labels.component]: 'proxy-agent',
} as const;

/** What a process may take after its streams have had their time, before the kubelet kills it. */
const exitGraceSeconds = 10;

/**
 * The Deployment of the agent.
 *
 * The generation of the ManagedProxyConfiguration stands on the Deployment alone. In the pods it would replace every agent of every
 * cluster at each edit, also of what only concerns the hub. They carry a hash of their own specification instead. Certificates and
 * authorities are no part of it: the agent reads those files again.
 */
export function agentDeployment(values: AgentValues): KubeObject {
  const spec = podSpec(values);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: values.deploymentName,
      namespace: values.installNamespace,
      labels: agentPodLabels,
      annotations: { [annotations.configurationGeneration]: String(values.generation) },
    },
    spec: {
      replicas: values.replicas,
      selector: { matchLabels: agentPodLabels },
      // A new agent must hold its tunnel before an old one lets go.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: {
          labels: agentPodLabels,
          annotations: {
            [annotations.workloadManagement]: '{"effect": "PreferredDuringScheduling"}',
            [annotations.renderedHash]: contentHash(spec).slice(0, 16),
          },
        },
        spec,
      },
    },
  };
}

function podSpec(values: AgentValues): object {
  const { imagePullSecrets, nodeSelector, tolerations } = values;
  return {
    serviceAccountName: agentServiceAccount,
    terminationGracePeriodSeconds: Math.ceil(values.drainTimeoutMs / 1000) + exitGraceSeconds,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    ...(Object.keys(nodeSelector).length > 0 && { nodeSelector }),
    ...(tolerations.length > 0 && { tolerations }),
    ...(imagePullSecrets.length > 0 && {
      imagePullSecrets: imagePullSecrets.map((name) => ({ name })),
    }),
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 100,
            podAffinityTerm: {
              topologyKey: 'kubernetes.io/hostname',
              labelSelector: { matchLabels: agentPodLabels },
            },
          },
        ],
      },
    },
    containers: [container(values)],
    volumes: [
      { name: 'ca', secret: { secretName: agentCaSecret } },
      { name: 'hub', secret: { secretName: agentSecrets.certificate } },
      { name: 'hub-kubeconfig', secret: { secretName: agentSecrets.hubKubeconfig } },
    ],
  };
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
        value: literal(value),
      })),
    ],
    ports: [{ name: 'status', containerPort: agentStatusPort, protocol: 'TCP' }],
    livenessProbe: { ...probe('/healthz'), initialDelaySeconds: 10 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 5 },
    resources: values.resources,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
    },
    volumeMounts: [
      { name: 'ca', mountPath: '/etc/ca', readOnly: true },
      { name: 'hub', mountPath: '/etc/tls', readOnly: true },
      { name: 'hub-kubeconfig', mountPath: '/etc/kubeconfig', readOnly: true },
    ],
  };
}
