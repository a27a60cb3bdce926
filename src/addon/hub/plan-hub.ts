import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import { hubLabel } from '../api/names.ts';
import { findObject, findSame } from '../api/objects.ts';
import { ownershipPatches } from '../compat/take-ownership.ts';
import type { RedisSpec } from '../configuration/spec.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { brokerDeployment, type BrokerDeploymentOptions } from './broker-deployment.ts';
import { brokerRedis } from './broker-redis.ts';
import { enrolmentKeys } from './enrolment-keys.ts';
import { resolveEntrypoint, serverSans } from './entrypoint.ts';
import { brokerNetworkPolicy, disruptionBudget } from './hub-policies.ts';
import { brokerAccounts, portForwardRoleName, portForwardRoleObject } from './hub-rbac.ts';
import { agentIngress, entrypointService, loadBalancerService } from './hub-services.ts';
import { replicaKeySecret } from './secret-key.ts';
import { readTlsProfile, type TlsProfile } from './tls-profile.ts';

/** The options of the addon manager for the hub. */
export interface HubSettings {
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Names of Secrets for the brokers' image. */
  readonly imagePullSecrets: readonly string[];
  readonly enableNetworkPolicies: boolean;
  /** Ports of kube-apiservers that NetworkPolicies allow. Empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
  /** The Redis for a configuration without one. */
  readonly redis: RedisSpec | undefined;
}

export interface HubObserved {
  readonly configuration: ManagedProxyConfiguration;
  readonly settings: HubSettings;
  /**
   * Live objects of the kinds in `hubKinds`: those of the hub's namespace, and those without a
   * namespace. Of Secrets, at least the key of the replicas and those that `spec.proxyServer`
   * names.
   */
  readonly objects: readonly KubeObject[];
  /** The ConfigMap `ocm-tls-profile` of the addon manager's namespace. */
  readonly tlsProfile: KubeObject | undefined;
  /** A random text of at least 32 characters. It is used once in the life of the hub. */
  readonly freshReplicaKey: string;
}

export type HubPlan = Readonly<ReturnType<typeof planHub>>;

/**
 * The kinds of objects that `planHub` renders. The controller watches them and may delete them,
 * except Secrets.
 */
export const hubKinds = [
  { apiVersion: 'v1', kind: 'Namespace' },
  { apiVersion: 'v1', kind: 'ServiceAccount' },
  { apiVersion: 'v1', kind: 'Secret' },
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'apps/v1', kind: 'Deployment' },
  { apiVersion: 'policy/v1', kind: 'PodDisruptionBudget' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'Role' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' },
  { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding' },
] as const;

/**
 * Plans the objects of the hub. A configuration with problems changes nothing: `apply` and `remove`
 * are empty, and running objects stay. When the configuration is being deleted, the garbage
 * collector deletes the objects.
 */
export function planHub(observed: HubObserved) {
  const { configuration, settings, objects } = observed;
  const key = replicaKeySecret(configuration, objects, observed.freshReplicaKey);
  const redis = brokerRedis(configuration, {
    fallback: settings.redis,
    observed: objects,
    key: key.data.key,
  });
  const enrolment = enrolmentKeys(configuration, objects);
  const { profile, problem, ignored } = readTlsProfile(observed.tlsProfile);
  const asked = configuration.spec.proxyServer.replicas;
  const replicas = redis === undefined ? Math.min(asked, 1) : asked;
  const parts = { redis, enrolmentKeys: enrolment.ref, key, replicas, profile };
  const isHeld = configuration.problems.length > 0 || configuration.isDeleted;
  const apply = isHeld ? [] : hubObjects(observed, parts);
  const problems: readonly FieldProblem[] = [
    ...configuration.problems,
    ...(redis?.problems ?? []),
    ...enrolment.problems,
    ...(problem === undefined ? [] : [problem]),
  ];
  return {
    /** For server-side apply with force, in this order. */
    apply,
    /** Live objects with fields of other owners that the addon takes over before `apply`. */
    takeOwnership: ownershipPatches(apply, objects),
    /** Live objects to delete after `apply`. */
    remove: isHeld ? [] : unwanted(observed, apply),
    entrypoint: resolveEntrypoint(configuration, objects),
    /** Names of the certificates of proxy-server, agent-server and proxy-client. */
    serverSans: serverSans(configuration, objects),
    /** The number of brokers. It is at most 1 without Redis. */
    replicas,
    /** Problems of the configuration and of the objects that it names. */
    problems,
    ignored: [...configuration.ignored, ...ignored, ...aloneWithoutRedis(asked, replicas)],
  };
}

function aloneWithoutRedis(asked: number, replicas: number): readonly FieldProblem[] {
  if (asked === replicas) return [];
  const sentence = `is ${asked}: one runs, because several find each other in Redis; give spec.proxyServer.redis`;
  return [{ field: 'spec.proxyServer.replicas', sentence }];
}

/** The objects, in the order in which they depend on each other. */
function hubObjects(
  { configuration, settings, objects: observed, tlsProfile }: HubObserved,
  parts: Pick<BrokerDeploymentOptions, 'redis' | 'enrolmentKeys' | 'replicas'> & {
    readonly key: KubeObject;
    readonly profile: TlsProfile | undefined;
  },
): readonly KubeObject[] {
  const { redis, replicas, profile, key } = parts;
  const { namespace, entrypoint } = configuration.spec.proxyServer;
  const objects: KubeObject[] = [
    // The configuration does not own the namespace, because it may contain other objects. Cluster
    // Proxy does the same.
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    ...brokerAccounts(configuration),
    entrypointService(configuration),
  ];
  if (entrypoint.type === 'LoadBalancerService') objects.push(loadBalancerService(configuration));
  if (entrypoint.type === 'Ingress') objects.push(agentIngress(configuration));
  if (entrypoint.type === 'PortForward') objects.push(portForwardRoleObject(configuration));
  if (settings.enableNetworkPolicies) {
    objects.push(brokerNetworkPolicy(configuration, redis, settings.apiServerPorts));
  }
  if (redis !== undefined) objects.push(key);
  if (replicas > 1) objects.push(disruptionBudget(configuration));
  // A profile that is not valid is not replaced by a weaker one. The Deployment stays as it is.
  if (profile !== undefined) {
    objects.push(
      brokerDeployment(configuration, {
        ...settings,
        ...parts,
        tls: profile,
        hasTlsProfile: tlsProfile !== undefined,
        live: findObject(observed, 'Deployment', configuration.name, namespace),
      }),
    );
  }
  return objects;
}

/**
 * The addon's objects that are no longer wanted, and the Role by which Cluster Proxy let every
 * cluster into the hub's pods.
 */
function unwanted(
  { configuration, objects }: HubObserved,
  wanted: readonly KubeObject[],
): readonly KubeRef[] {
  const { namespace } = configuration.spec.proxyServer;
  const [[label, value]] = Object.entries(hubLabel) as [[string, string]];
  const isOurs = ({ metadata }: KubeObject) => metadata.labels?.[label] === value;
  const isWanted = (object: KubeObject) => findSame(wanted, object) !== undefined;
  const isTunnelRole = ({ kind, metadata }: KubeObject) =>
    kind === 'Role' && metadata.name === portForwardRoleName && metadata.namespace === namespace;
  const stale = objects.filter(
    (object) =>
      object.kind !== 'Secret' &&
      // The Deployment is not rendered when the TLS profile is not valid. The brokers keep running.
      !(object.kind === 'Deployment' && object.metadata.namespace === namespace) &&
      // Agents that do not know the new entrypoint yet still use their bindings to this Role.
      // Without bindings it allows nothing.
      !isTunnelRole(object) &&
      isOurs(object) &&
      object.metadata.ownerReferences?.some(({ uid }) => uid === configuration.uid) === true &&
      !isWanted(object),
  );
  const upstream = (['RoleBinding', 'Role'] as const)
    .flatMap((kind) => findObject(objects, kind, portForwardRoleName, namespace) ?? [])
    .filter((object) => object.kind === 'RoleBinding' || !isOurs(object));
  return [...new Set([...stale, ...upstream.filter((object) => !isWanted(object))])]
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map(refOf);
}
