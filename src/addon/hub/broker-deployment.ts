import type { KubeObject } from '../../kube/client/kube-object.ts';
import { annotations, hubSecrets, labels, serverAccount, serverLabel } from '../api/names.ts';
import {
  containerSecurity,
  deployment,
  podSettings,
  secretMounts,
  type SecretMount,
} from '../api/objects.ts';
import { contentHash } from '../api/spec-hash.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import {
  brokerArgs,
  type BrokerInput,
  brokerPorts,
  mountPaths,
  userPort,
  preStopSeconds,
  terminationGraceSeconds,
} from './broker-args.ts';
import { tlsProfileHash } from './tls-profile.ts';
import { fields, integer } from '../api/fields.ts';

const redisHashAnnotation = 'proxy.open-cluster-management.io/redis-url-hash';
const tlsHashAnnotation = 'proxy.open-cluster-management.io/tls-config-hash';

/**
 * The Deployment of brokers. The pod template has only what pods need, so a new generation of the
 * configuration alone replaces no pods. Brokers read certificates and keys again when the files
 * change.
 */
export function brokerDeployment(input: BrokerInput): KubeObject {
  const { configuration, redis, replicas, tls } = input;
  const { generation, name } = configuration;
  const hash = redis?.hash;
  const template = {
    metadata: {
      labels: serverLabel,
      ...(hash !== undefined && { annotations: { [redisHashAnnotation]: hash } }),
    },
    spec: podSpec(input),
  };
  const { spec } = deployment({ name }, serverLabel, replicas, template);
  const renderedHash = contentHash(spec).slice(0, 16);
  const metadata = hubMeta(configuration, name, {
    labels: { [annotations.configurationGeneration]: String(generation) },
    annotations: {
      [annotations.configurationGeneration]: servedGeneration(input, renderedHash),
      [annotations.renderedHash]: renderedHash,
      [tlsHashAnnotation]: tlsProfileHash(tls),
    },
  });
  return deployment(metadata, serverLabel, replicas, template);
}

function podSpec(input: BrokerInput): object {
  const { nodeSelector, tolerations } = input.configuration.spec.proxyServer.nodePlacement;
  const secrets = secretMounts(mountsOf(input));
  const policy = policyMount(input);
  const volumes = [...secrets.volumes, ...policy.volumes];
  const volumeMounts = [...secrets.volumeMounts, ...policy.volumeMounts];
  return {
    serviceAccountName: serverAccount,
    automountServiceAccountToken: true,
    // The broker could read environment variables of Services as options.
    enableServiceLinks: false,
    ...podSettings(input.imagePullSecrets),
    terminationGracePeriodSeconds: terminationGraceSeconds(input.configuration),
    nodeSelector,
    tolerations,
    topologySpreadConstraints: ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map(
      (topologyKey) => ({
        maxSkew: 1,
        topologyKey,
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: serverLabel },
      }),
    ),
    containers: [{ ...brokerContainer(input), volumeMounts }],
    volumes,
  };
}

/** Enough for a thousand tunnels. The limit protects the node. */
const defaultResources = {
  requests: { cpu: '100m', memory: '256Mi' },
  limits: { memory: '2Gi' },
} as const;

function brokerContainer(input: BrokerInput): object {
  const { image, resources } = input.configuration.spec.proxyServer;
  const probe = (path: string) => ({ httpGet: { path, port: 'health' }, timeoutSeconds: 3 });
  const wait = `setTimeout(() => {}, ${preStopSeconds * 1000})`;
  const podIp = { fieldRef: { apiVersion: 'v1', fieldPath: 'status.podIP' } };
  const secretKeyRef = input.redis?.spec.secretRef;
  const redisUrl = { name: 'CULVERT_REDIS_URL', valueFrom: { secretKeyRef } };
  return {
    name: serverLabel[labels.component],
    image,
    imagePullPolicy: input.imagePullPolicy,
    // An explicit empty list removes the command of Cluster Proxy at an upgrade.
    command: [],
    args: brokerArgs(input),
    env: [{ name: 'POD_IP', valueFrom: podIp }, ...(secretKeyRef ? [redisUrl] : [])],
    ports: [
      { name: 'proxy-server', containerPort: brokerPorts.client, protocol: 'TCP' },
      { name: 'agent-server', containerPort: brokerPorts.agent, protocol: 'TCP' },
      { name: 'health', containerPort: brokerPorts.status, protocol: 'TCP' },
      ...(input.exposedServices === undefined
        ? []
        : [{ name: 'https', containerPort: userPort, protocol: 'TCP' }]),
    ],
    startupProbe: { ...probe('/healthz'), periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 6 },
    // The image has no program besides node. Not every Kubernetes version supports the sleep
    // action.
    lifecycle: { preStop: { exec: { command: ['node', '-e', wait] } } },
    resources: resources ?? defaultResources,
    securityContext: containerSecurity,
  };
}

/**
 * The names of the first three volumes are from Cluster Proxy, so that an upgrade replaces its
 * volumes.
 */
function mountsOf(input: BrokerInput): readonly SecretMount[] {
  const { configuration, redis, enrolmentKeys, exposedServices } = input;
  const { secrets } = configuration.spec.authentication.dump;
  const mounts: SecretMount[] = [];
  const mount = (name: string, mountPath: string, secretName: string, more = {}) =>
    mounts.push({ name, mountPath, secretName, ...more });
  mount('proxy-server-ca-certs', mountPaths.serverCa, hubSecrets.serverCa);
  mount('proxy-server-certs', mountPaths.server, secrets.signingProxyServerSecretName);
  mount('proxy-agent-certs', mountPaths.agentServer, secrets.signingAgentServerSecretName);
  mount('agent-ca', mountPaths.agentCa, hubSecrets.agentCa);
  if (redis) mount('replica-key', mountPaths.replicaKey, hubSecrets.replicaKey);
  const redisCa = redis?.spec.caSecretRef;
  if (redisCa) mount('redis-ca', mountPaths.redisCa, redisCa.name);
  if (enrolmentKeys) {
    // Only this key is mounted, because the Secret may also have the private key.
    const { name, key } = enrolmentKeys;
    mount('enrolment-keys', mountPaths.enrolmentKeys, name, { key });
  }
  if (exposedServices) mount('user-server-certs', mountPaths.userServer, hubSecrets.userServer);
  return mounts;
}

/**
 * The volume of the policy is not optional, because a broker without its policy would let everyone
 * in.
 */
function policyMount({ configuration }: BrokerInput) {
  const { policyConfigMapRef: policy } = configuration.spec.proxyServer;
  if (policy === undefined) return { volumes: [], volumeMounts: [] };
  const { name, key } = policy;
  const volume = { name: 'policy', configMap: { name, items: [{ key, path: key }] } };
  const mount = { name: volume.name, mountPath: mountPaths.policy, readOnly: true };
  return { volumes: [volume], volumeMounts: [mount] };
}

/** Whether `replicas` pods serve, all of them from the newest template. */
export function isRolledOut(deployment: KubeObject | undefined, replicas: number): boolean {
  const status = fields(deployment?.['status']);
  const count = (field: string) => integer(status[field]) ?? 0;
  return (
    deployment !== undefined &&
    count('observedGeneration') >= (deployment.metadata.generation ?? 0) &&
    ['replicas', 'updatedReplicas', 'availableReplicas'].every((one) => count(one) === replicas)
  );
}

/**
 * The generation for the annotation of the brokers' Deployment: the newest generation whose pods
 * have started.
 *
 * Cluster Proxy's manager does not touch a Deployment with the generation that it sees. At a
 * rollback to Cluster Proxy, this manager can see the older configuration before it ends. Pods of
 * the older image never start as brokers, so the Deployment must not have the generation of that
 * configuration.
 */
export function servedGeneration(
  { configuration, live, replicas }: BrokerInput,
  renderedHash: string,
): string {
  const carried = live?.metadata.annotations;
  const before = carried?.[annotations.configurationGeneration];
  const isServed =
    carried?.[annotations.renderedHash] === renderedHash && isRolledOut(live, replicas);
  return before === undefined || isServed ? String(configuration.generation) : before;
}
