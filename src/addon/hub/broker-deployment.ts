import type { KubeObject } from '../../kube/client/kube-object.ts';
import { annotations, hubSecrets, labels, serverAccount, serverLabel } from '../api/names.ts';
import { containerSecurity, deployment, podSettings } from '../api/objects.ts';
import { contentHash } from '../api/spec-hash.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import {
  brokerArgs,
  type BrokerArgsOptions,
  brokerPorts,
  mountPaths,
  preStopSeconds,
  terminationGraceSeconds,
} from './broker-args.ts';
import { servedGeneration } from './broker-rollout.ts';
import { tlsProfileHash } from './tls-profile.ts';

export interface BrokerDeploymentOptions extends BrokerArgsOptions {
  readonly replicas: number;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** The Deployment as it is. */
  readonly live: KubeObject | undefined;
  /** Names of Secrets in the brokers' namespace. */
  readonly imagePullSecrets: readonly string[];
}

/**
 * The Deployment of brokers. The pod template has only what pods need, so a new generation of the
 * configuration alone replaces no pods. Brokers read certificates and keys again when the files
 * change.
 */
export function brokerDeployment(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): KubeObject {
  const { live, replicas, tls } = options;
  const { generation, name } = configuration;
  const template = podTemplate(configuration, options);
  const { spec } = deployment({ name }, serverLabel, replicas, template);
  const renderedHash = contentHash(spec).slice(0, 16);
  const served = servedGeneration(live, { generation, renderedHash, replicas });
  const metadata = hubMeta(configuration, name, {
    labels: { [annotations.configurationGeneration]: String(generation) },
    annotations: {
      [annotations.configurationGeneration]: served,
      [annotations.renderedHash]: renderedHash,
      'proxy.open-cluster-management.io/tls-config-hash': tlsProfileHash(tls),
    },
  });
  return deployment(metadata, serverLabel, replicas, template);
}

const redisHashAnnotation = 'proxy.open-cluster-management.io/redis-url-hash';

function podTemplate(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
): object {
  const { nodePlacement } = configuration.spec.proxyServer;
  const hash = options.redis?.hash;
  const mounts = mountsOf(configuration, options);
  return {
    metadata: {
      labels: serverLabel,
      ...(hash !== undefined && { annotations: { [redisHashAnnotation]: hash } }),
    },
    spec: {
      serviceAccountName: serverAccount,
      automountServiceAccountToken: true,
      // The broker could read environment variables of Services as options.
      enableServiceLinks: false,
      ...podSettings(options.imagePullSecrets),
      terminationGracePeriodSeconds: terminationGraceSeconds(configuration),
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
      containers: [brokerContainer(configuration, options, mounts)],
      volumes: mounts.map(({ name, secret }) => ({ name, secret })),
    },
  };
}

/** Enough for a thousand tunnels. The limit protects the node. */
const defaultResources = {
  requests: { cpu: '100m', memory: '256Mi' },
  limits: { memory: '2Gi' },
} as const;

function brokerContainer(
  configuration: ManagedProxyConfiguration,
  options: BrokerDeploymentOptions,
  mounts: readonly Mount[],
): object {
  const { image, resources } = configuration.spec.proxyServer;
  const probe = (path: string) => ({ httpGet: { path, port: 'health' }, timeoutSeconds: 3 });
  const wait = `setTimeout(() => {}, ${preStopSeconds * 1000})`;
  return {
    name: serverLabel[labels.component],
    image,
    imagePullPolicy: options.imagePullPolicy,
    // An explicit empty list removes the command of Cluster Proxy at an upgrade.
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
    // The image has no program besides node. Not every Kubernetes version supports the sleep
    // action.
    lifecycle: { preStop: { exec: { command: ['node', '-e', wait] } } },
    resources: resources ?? defaultResources,
    securityContext: containerSecurity,
    volumeMounts: mounts.map(({ name, mountPath }) => ({ name, mountPath, readOnly: true })),
  };
}

function environment({ redis }: BrokerDeploymentOptions): readonly object[] {
  const fieldRef = { apiVersion: 'v1', fieldPath: 'status.podIP' };
  const ref = redis?.spec.secretRef;
  return [
    { name: 'POD_IP', valueFrom: { fieldRef } },
    ...(ref === undefined
      ? []
      : [{ name: 'CULVERT_REDIS_URL', valueFrom: { secretKeyRef: { ...ref } } }]),
  ];
}

/** A Secret that is mounted into the pods. */
interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly secret: { readonly secretName: string; readonly items?: readonly object[] };
}

/**
 * The names of the first three volumes are from Cluster Proxy, so that an upgrade replaces its
 * volumes.
 */
function mountsOf(
  { spec }: ManagedProxyConfiguration,
  { redis, enrolmentKeys }: BrokerDeploymentOptions,
): readonly Mount[] {
  const { secrets } = spec.authentication.dump;
  const mount = (name: string, mountPath: string, secretName: string, key?: string): Mount => ({
    name,
    mountPath,
    secret: { secretName, ...(key !== undefined && { items: [{ key, path: key }] }) },
  });
  const { signingProxyServerSecretName, signingAgentServerSecretName } = secrets;
  const redisCa = redis?.spec.caSecretRef;
  return [
    mount('proxy-server-ca-certs', mountPaths.serverCa, hubSecrets.serverCa),
    mount('proxy-server-certs', mountPaths.server, signingProxyServerSecretName),
    mount('proxy-agent-certs', mountPaths.agentServer, signingAgentServerSecretName),
    mount('agent-ca', mountPaths.agentCa, hubSecrets.agentCa),
    ...(redis ? [mount('replica-key', mountPaths.replicaKey, hubSecrets.replicaKey)] : []),
    ...(redisCa ? [mount('redis-ca', mountPaths.redisCa, redisCa.name)] : []),
    // Only this key is mounted, because the Secret may also have the private key.
    ...(enrolmentKeys
      ? [mount('enrolment-keys', mountPaths.enrolmentKeys, enrolmentKeys.name, enrolmentKeys.key)]
      : []),
  ];
}
