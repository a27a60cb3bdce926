import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import { findObject, findSame } from '../api/objects.ts';
import { isMarked, nameConflict } from '../compat/name-conflict.ts';
import { ownershipPatches } from '../compat/take-ownership.ts';
import type { HubSettings } from './broker-args.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { brokerRedis, enrolmentKeys, replicaKeySecret } from './hub-secrets.ts';
import { resolveEntrypoint, serverSans } from './entrypoint.ts';
import { hubObjects, portForwardRoleName } from './hub-objects.ts';
import { readTlsProfile } from './tls-profile.ts';
import { servesUsers, userServerSans } from './user-server.ts';

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
 * Plans the objects of the hub. A configuration with problems changes nothing: `apply` and `remove`
 * are empty, and running objects stay. When the configuration is being deleted, the garbage
 * collector deletes the objects.
 */
export function planHub(observed: HubObserved) {
  const { configuration, settings, objects } = observed;
  const key = replicaKeySecret(configuration, objects, observed.freshReplicaKey);
  const redis = brokerRedis(configuration, settings.redis, objects, key.data.key);
  const enrolment = enrolmentKeys(configuration, objects);
  const tlsProfile = readTlsProfile(observed.tlsProfile);
  const isServed = servesUsers(configuration, settings, objects);
  const { replicas: asked, namespace } = configuration.spec.proxyServer;
  const replicas = redis === undefined ? Math.min(asked, 1) : asked;
  const isHeld = configuration.problems.length > 0 || configuration.isDeleted;
  const apply = isHeld
    ? []
    : hubObjects({
        ...settings,
        configuration,
        redis,
        enrolmentKeys: enrolment.ref,
        exposedServices: isServed ? settings.exposedServicesConfigmap : undefined,
        key,
        replicas,
        tls: tlsProfile.profile,
        hasTlsProfile: observed.tlsProfile !== undefined,
        live: findObject(objects, 'Deployment', configuration.name, namespace),
      });
  return {
    /** For server-side apply with force, in this order. */
    apply,
    /** Live objects with fields of other owners that the addon takes over before `apply`. */
    takeOwnership: ownershipPatches(
      apply.filter((object) => nameConflict(findSame(objects, object)) === undefined),
      objects,
    ),
    /** Live objects to delete after `apply`. */
    remove: isHeld ? [] : unwanted(observed, apply),
    entrypoint: resolveEntrypoint(configuration, objects),
    /** Names of the certificates of proxy-server, agent-server and proxy-client. */
    serverSans: serverSans(configuration, objects),
    /** Names of the certificate of the user-server. Undefined: the addon issues none. */
    userServerSans: userServerSans(configuration),
    /** Whether the user-server is wanted, and so its certificate. */
    wantsUserServer: settings.enableServiceProxy || configuration.spec.userServer !== undefined,
    /** The number of brokers. It is at most 1 without Redis. */
    replicas,
    /** Problems of the configuration and of the objects that it names. */
    problems: [
      ...configuration.problems,
      ...(redis?.problems ?? []),
      ...enrolment.problems,
      ...(tlsProfile.problem === undefined ? [] : [tlsProfile.problem]),
    ] as readonly FieldProblem[],
    ignored: [
      ...configuration.ignored,
      ...tlsProfile.ignored,
      ...aloneWithoutRedis(asked, replicas),
    ],
  };
}

function aloneWithoutRedis(asked: number, replicas: number): readonly FieldProblem[] {
  if (asked === replicas) return [];
  const sentence = `is ${asked}: one runs, because several find each other in Redis; give spec.proxyServer.redis`;
  return [{ field: 'spec.proxyServer.replicas', sentence }];
}

/**
 * The addon's objects that are no longer wanted, and the Role by which Cluster Proxy let every
 * cluster into the hub's pods.
 */
function unwanted({ configuration, objects }: HubObserved, wanted: readonly KubeObject[]) {
  const { namespace } = configuration.spec.proxyServer;
  const isTunnelRole = ({ kind, metadata }: KubeObject) =>
    kind === 'Role' && metadata.name === portForwardRoleName && metadata.namespace === namespace;
  const isStale = (object: KubeObject) =>
    object.kind !== 'Secret' &&
    // The Deployment is not rendered when the TLS profile is not valid. The brokers keep running.
    !(object.kind === 'Deployment' && object.metadata.namespace === namespace) &&
    // Agents that do not know the new entrypoint yet still use their bindings to this Role. Without
    // bindings it allows nothing.
    !isTunnelRole(object) &&
    isMarked(object) &&
    object.metadata.ownerReferences?.some(({ uid }) => uid === configuration.uid) === true;
  const upstream = (['RoleBinding', 'Role'] as const)
    .flatMap((kind) => findObject(objects, kind, portForwardRoleName, namespace) ?? [])
    .filter((object) => object.kind === 'RoleBinding' || !isMarked(object));
  return [...new Set([...objects.filter(isStale), ...upstream])]
    .filter((object) => findSame(wanted, object) === undefined)
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}
