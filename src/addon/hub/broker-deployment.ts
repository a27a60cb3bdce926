import { annotations, labels, serverAccount, hubSecrets, serverLabel } from '../api/names.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { contentHash } from '../api/spec-hash.ts';
import {
  brokerArgs,
  type BrokerArgsOptions,
  brokerPorts,
  leaveSeconds,
  mountPaths,
  terminationGraceSeconds,
} from './broker-args.ts';
import { servedGeneration } from './broker-rollout.ts';
import { tlsProfileHash } from './tls-profile.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';

export interface BrokerDeploymentOptions extends BrokerArgsOptions {
  readonly replicas: number;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** The Deployment as it is. */
  readonly live: KubeObject | undefined;
  /** Names of Secrets beside the brokers. */
  readonly imagePullSecrets: readonly string[];
}

/**
 * The brokers. What the pods need and nothing else is in the template, so that a new generation of the configuration alone replaces
 * none of them; certificates and keys are read again when their files change.
 */
export function brokerDeployment(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): KubeObject {
  const { live, replicas, tls } = options;
  const { generation } = configuration;
  const spec = {
    replicas,
    selector: { matchLabels: serverLabel },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: podTemplate(configuration, options),
  };
  const renderedHash = contentHash(spec).slice(0, 16);
  const served = servedGeneration(live, { generation, renderedHash, replicas });
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: hubMeta(configuration, configuration.name, {
      labels: { [annotations.configurationGeneration]: String(generation) },
      annotations: {
        [annotations.configurationGeneration]: served,
        [annotations.renderedHash]: renderedHash,
        'proxy.open-cluster-management.io/tls-config-hash': tlsProfileHash(tls),
      },
    }),
    spec,
  };
}

const redisHashAnnotation = 'proxy.open-cluster-management.io/redis-url-hash';

function podTemplate(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): object {
  const { nodePlacement } = configuration.spec.proxyServer;
  const hash = options.redis?.hash;
  return {
    metadata: {
      labels: serverLabel,
      ...(hash !== undefined && { annotations: { [redisHashAnnotation]: hash } }),
    },
    spec: {
      serviceAccountName: serverAccount,
      automountServiceAccountToken: true,
      // Variables made for Services could be taken for options.
      enableServiceLinks: false,
      ...(options.imagePullSecrets.length > 0 && {
        imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })),
      }),
      terminationGracePeriodSeconds: terminationGraceSeconds(configuration),
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      nodeSelector: nodePlacement.nodeSelector,
      tolerations: nodePlacement.tolerations,
      topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map(
        (topologyKey) => ({
          maxSkew: 1,
          topologyKey,
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: serverLabel },
        }),
      ),
      containers: [brokerContainer(configuration, options)],
      volumes: volumes(configuration, options),
    },
  };
}

/** Room for a thousand tunnels; the limit is there for the node's sake. */
const defaultResources = {
  requests: { cpu: '100m', memory: '256Mi' },
  limits: { memory: '2Gi' },
} as const;

function brokerContainer(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): object {
  const { image, resources } = configuration.spec.proxyServer;
  const probe = (path: string) => ({ httpGet: { path, port: 'health' }, timeoutSeconds: 3 });
  return {
    name: serverLabel[labels.component],
    image,
    imagePullPolicy: options.imagePullPolicy,
    // Nothing, said aloud: what upstream put there would otherwise survive an upgrade.
    command: [],
    args: brokerArgs(configuration, options),
    env: environment(options),
    ports: [
      { name: 'proxy-server', containerPort: brokerPorts.client, protocol: 'TCP' },
      { name: 'agent-server', containerPort: brokerPorts.agent, protocol: 'TCP' },
      { name: 'health', containerPort: brokerPorts.status, protocol: 'TCP' },
    ],
    startupProbe: { ...probe('/healthz'), periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 6 },
    // There is nothing but node in the image, and Kubernetes' own sleep is not known everywhere.
    lifecycle: { preStop: { exec: { command: ['node', '-e', waitFor(leaveSeconds)] } } },
    resources: resources ?? defaultResources,
    securityContext: {
      allowPrivilegeEscalation: false,
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: volumeNames(options).map(([name, mountPath]) => ({
      name,
      mountPath,
      readOnly: true,
    })),
  };
}

function waitFor(seconds: number): string {
  return `setTimeout(() => {}, ${seconds * 1000})`;
}

function environment({ redis }: BrokerDeploymentOptions): readonly object[] {
  const field = (name: string, fieldPath: string) => ({
    name,
    valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } },
  });
  const variables: object[] = [field('POD_IP', 'status.podIP')];
  const ref = redis?.spec.secretRef;
  if (ref !== undefined) {
    variables.push({ name: 'CULVERT_REDIS_URL', valueFrom: { secretKeyRef: { ...ref } } });
  }
  return variables;
}

/** The three first are called as upstream calls them, so that an upgrade leaves none of its volumes behind. */
function volumeNames({
  redis,
  enrolmentKeys,
}: BrokerDeploymentOptions): readonly (readonly [string, string])[] {
  return [
    ['proxy-server-ca-certs', mountPaths.serverCa],
    ['proxy-server-certs', mountPaths.server],
    ['proxy-agent-certs', mountPaths.agentServer],
    ['agent-ca', mountPaths.agentCa],
    ...(redis === undefined ? [] : [['replica-key', mountPaths.replicaKey] as const]),
    ...(redis?.spec.caSecretRef ? [['redis-ca', mountPaths.redisCa] as const] : []),
    ...(enrolmentKeys ? [['enrolment-keys', mountPaths.enrolmentKeys] as const] : []),
  ];
}

function volumes(
  { spec }: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): readonly object[] {
  const { signingProxyServerSecretName, signingAgentServerSecretName } =
    spec.authentication.dump.secrets;
  const secretNames: Readonly<Record<string, string | undefined>> = {
    'proxy-server-ca-certs': hubSecrets.serverCa,
    'proxy-server-certs': signingProxyServerSecretName,
    'proxy-agent-certs': signingAgentServerSecretName,
    'agent-ca': hubSecrets.agentCa,
    'replica-key': hubSecrets.replicaKey,
    'redis-ca': options.redis?.spec.caSecretRef?.name,
    'enrolment-keys': options.enrolmentKeys?.name,
  };
  // The private key may lie beside: it has no business in these pods.
  const keys = options.enrolmentKeys;
  const items = keys && [{ key: keys.key, path: keys.key }];
  return volumeNames(options).map(([name]) => ({
    name,
    secret: { secretName: secretNames[name], ...(name === 'enrolment-keys' && { items }) },
  }));
}
