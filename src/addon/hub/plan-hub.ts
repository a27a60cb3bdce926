import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { type Adoption, adoptions } from '../compat/take-ownership.ts';
import { brokerDeployment } from './broker-deployment.ts';
import { type BrokerRedis, brokerRedis } from './broker-redis.ts';
import { enrolmentKeys } from './enrolment-keys.ts';
import {
  type Entrypoint,
  type PendingEntrypoint,
  resolveEntrypoint,
  serverSans,
} from './entrypoint.ts';
import { brokerNetworkPolicy, disruptionBudget } from './hub-policies.ts';
import { brokerAccounts, portForwardRoleName, portForwardRoleObject } from './hub-rbac.ts';
import { agentIngress, entrypointService, loadBalancerService } from './hub-services.ts';
import { replicaKeySecret } from './replica-key.ts';
import { readTlsProfile, type TlsProfile } from './tls-profile.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import { hubLabel } from '../api/names.ts';
import { findObject, findSame } from '../api/objects.ts';
import type { RedisSpec, SecretKey } from '../configuration/spec.ts';

/** What the addon manager was told at its start. */
export interface HubSettings {
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Of the brokers. */
  readonly imagePullSecrets: readonly string[];
  readonly enableNetworkPolicies: boolean;
  /** What NetworkPolicies let out to; empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
  /** The Redis of configurations that name none. */
  readonly redis: RedisSpec | undefined;
}

export interface HubObserved {
  readonly configuration: ManagedProxyConfiguration;
  readonly settings: HubSettings;
  /**
   * Live objects of the kinds in `hubKinds`, with `apiVersion` and `kind` filled in: those of the hub's namespace and all without a
   * namespace; more do no harm. Secrets: at least the replicas' key and those that `spec.proxyServer` names.
   */
  readonly objects: readonly KubeObject[];
  /** The ConfigMap `ocm-tls-profile` of the addon manager's namespace. */
  readonly tlsProfile: KubeObject | undefined;
  /** Random, at least 32 characters; used once in the life of the hub. */
  readonly freshReplicaKey: string;
}

export interface HubPlan {
  /** To be given to server-side apply with force, in this order. */
  readonly apply: readonly KubeObject[];
  /** Live objects whose fields others own and we are to own; before `apply`. */
  readonly adopt: readonly Adoption[];
  /** To be deleted after `apply`; each is there now. */
  readonly remove: readonly KubeRef[];
  readonly entrypoint: Entrypoint | PendingEntrypoint;
  /** Names of the certificates of proxy-server, agent-server and proxy-client. */
  readonly serverSans: readonly string[];
  /** How many brokers are wanted; less than asked for where there is no Redis. */
  readonly replicas: number;
  /** The configuration's own, and those of what it names. */
  readonly problems: readonly FieldProblem[];
  readonly ignored: readonly FieldProblem[];
}

/** What `reconcileHub` renders, and so what a controller watches and what it may delete; Secrets are never deleted. */
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
 * What the hub is to look like. A configuration with problems of its own changes nothing: what runs goes on as it is, and
 * `apply` and `remove` are empty. One that is being deleted leaves the rest to the garbage collector.
 */
export function reconcileHub(observed: HubObserved): HubPlan {
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
  const plan = {
    entrypoint: resolveEntrypoint(configuration, objects),
    serverSans: serverSans(configuration, objects),
    replicas,
    problems: [
      ...configuration.problems,
      ...(redis?.problems ?? []),
      ...enrolment.problems,
      ...(problem === undefined ? [] : [problem]),
    ],
    ignored: [...configuration.ignored, ...ignored, ...aloneWithoutRedis(asked, replicas)],
  };
  if (configuration.problems.length > 0 || configuration.isDeleted) {
    return { ...plan, apply: [], adopt: [], remove: [] };
  }
  const apply = hubObjects(observed, {
    redis,
    enrolmentKeys: enrolment.ref,
    key,
    replicas,
    profile,
  });
  return {
    ...plan,
    apply,
    adopt: adoptions(apply, objects),
    remove: unwanted(observed, apply),
  };
}

function aloneWithoutRedis(asked: number, replicas: number): readonly FieldProblem[] {
  if (asked === replicas) return [];
  const sentence = `is ${asked}: one runs, because several find each other in Redis; give spec.proxyServer.redis`;
  return [{ field: 'spec.proxyServer.replicas', sentence }];
}

interface Parts {
  readonly redis: BrokerRedis | undefined;
  readonly enrolmentKeys: SecretKey | undefined;
  readonly key: KubeObject;
  readonly replicas: number;
  readonly profile: TlsProfile | undefined;
}

/** In the order in which they need each other. */
function hubObjects(
  { configuration, settings, objects: observed, tlsProfile }: HubObserved,
  { redis, enrolmentKeys, key, replicas, profile }: Parts,
): readonly KubeObject[] {
  const { namespace, entrypoint } = configuration.spec.proxyServer;
  const objects: KubeObject[] = [
    // Whoever made it keeps it, as upstream: other things live there.
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
  // A profile that cannot be understood is not replaced by a weaker one: the Deployment stays as it is.
  if (profile !== undefined) {
    objects.push(
      brokerDeployment(configuration, {
        ...settings,
        replicas,
        redis,
        enrolmentKeys,
        tls: profile,
        hasTlsProfile: tlsProfile !== undefined,
        live: findObject(observed, 'Deployment', configuration.name, namespace),
      }),
    );
  }
  return objects;
}

/** Ours that nobody wants any more, and what upstream let every cluster into the hub's pods by. */
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
      // One that is not rendered now, for a bad TLS profile, is to go on.
      !(object.kind === 'Deployment' && object.metadata.namespace === namespace) &&
      // Without bindings it allows nothing, and agents that have not heard of another entrypoint still come by theirs.
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
