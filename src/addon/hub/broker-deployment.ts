import type { KubeObject } from '../../kube/client/kube-object.ts';
import { annotations, hubSecrets, labels, serverAccount, serverLabel } from '../api/names.ts';
import { deploymentSpec, type FileMount, podSpec } from '../api/objects.ts';
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
  const marks = redis?.hash === undefined ? undefined : { [redisHashAnnotation]: redis.hash };
  const spec = deploymentSpec(replicas, serverLabel, brokerPod(input), marks);
  const renderedHash = contentHash(spec).slice(0, 16);
  const metadata = hubMeta(configuration, name, {
    labels: { [annotations.configurationGeneration]: String(generation) },
    annotations: {
      [annotations.configurationGeneration]: servedGeneration(input, renderedHash),
      [annotations.renderedHash]: renderedHash,
      [tlsHashAnnotation]: tlsProfileHash(tls),
    },
  });
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec };
}

function brokerPod(input: BrokerInput): object {
  const { nodeSelector, tolerations } = input.configuration.spec.proxyServer.nodePlacement;
  return {
    serviceAccountName: serverAccount,
    automountServiceAccountToken: true,
    // The broker could read environment variables of Services as options.
    enableServiceLinks: false,
    ...podSpec(brokerContainer(input), mountsOf(input), input.imagePullSecrets),
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
  };
}

/**
 * The names of the first three volumes are from Cluster Proxy, so that an upgrade replaces its
 * volumes.
 */
function mountsOf(input: BrokerInput): readonly FileMount[] {
  const { configuration, redis, enrolmentKeys, exposedServices } = input;
  const { secrets } = configuration.spec.authentication.dump;
  const { policyConfigMapRef: policy } = configuration.spec.proxyServer;
  const mounts: FileMount[] = [];
  const mount = (name: string, path: keyof typeof mountPaths, secretName: string, more = {}) =>
    mounts.push([name, mountPaths[path], { secret: { secretName, ...more } }]);
  const only = (key: string) => ({ items: [{ key, path: key }] });
  mount('proxy-server-ca-certs', 'serverCa', hubSecrets.serverCa);
  mount('proxy-server-certs', 'server', secrets.signingProxyServerSecretName);
  mount('proxy-agent-certs', 'agentServer', secrets.signingAgentServerSecretName);
  mount('agent-ca', 'agentCa', hubSecrets.agentCa);
  if (redis) mount('replica-key', 'replicaKey', hubSecrets.replicaKey);
  const redisCa = redis?.spec.caSecretRef;
  if (redisCa) mount('redis-ca', 'redisCa', redisCa.name);
  if (enrolmentKeys) {
    // Only this key is mounted, because the Secret may also have the private key.
    mount('enrolment-keys', 'enrolmentKeys', enrolmentKeys.name, only(enrolmentKeys.key));
  }
  if (exposedServices) mount('user-server-certs', 'userServer', hubSecrets.userServer);
  if (policy) {
    // It is not optional, because a broker without its policy would let everyone in.
    const configMap = { name: policy.name, ...only(policy.key) };
    mounts.push(['policy', mountPaths.policy, { configMap }]);
  }
  return mounts;
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
