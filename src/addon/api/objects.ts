import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import { addonName, apiGroups } from './names.ts';

// Builders for objects on the hub and in managed clusters, and lookups among live objects.

/** The right to `verbs` on a resource, or on the objects `resourceNames` alone. */
export const rule = (
  apiGroup: string,
  resource: string,
  verbs: readonly string[],
  ...resourceNames: readonly string[]
) => ({
  apiGroups: [apiGroup],
  resources: [resource],
  ...(resourceNames.length > 0 && { resourceNames }),
  verbs,
});
type Rules = readonly ReturnType<typeof rule>[];

export interface Subject {
  readonly kind: 'User' | 'Group' | 'ServiceAccount';
  readonly apiGroup?: string;
  readonly name: string;
  readonly namespace?: string;
}

const rbac = `${apiGroups.rbac}/v1`;
const scopeOf = ({ namespace }: ObjectMeta) => (namespace === undefined ? 'Cluster' : '');

/** A Role, or a ClusterRole without a namespace. */
export function role(metadata: ObjectMeta, rules: Rules): KubeObject {
  return { apiVersion: rbac, kind: `${scopeOf(metadata)}Role`, metadata, rules };
}

/** A RoleBinding to a Role, or a ClusterRoleBinding to a ClusterRole without a namespace. */
export function roleBinding(metadata: ObjectMeta, roleName: string, subject: Subject): KubeObject {
  const scope = scopeOf(metadata);
  return {
    apiVersion: rbac,
    kind: `${scope}RoleBinding`,
    metadata,
    roleRef: { apiGroup: apiGroups.rbac, kind: `${scope}Role`, name: roleName },
    subjects: [subject],
  };
}

/**
 * The rights to keep the agent's lease. RBAC cannot limit `create` to a name, because the object
 * has no name yet.
 */
export const leaseRules: Rules = [
  rule('coordination.k8s.io', 'leases', ['create']),
  rule('coordination.k8s.io', 'leases', ['get', 'update', 'patch'], addonName),
];

export function serviceAccount(metadata: ObjectMeta, more: object = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata, ...more };
}

/**
 * A Secret with `texts`. The API server refuses another type for an existing Secret, so `type` is
 * that of the live one.
 */
export function secret(
  metadata: ObjectMeta,
  texts: Readonly<Record<string, string>>,
  type: unknown = 'Opaque',
): KubeObject {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const encoded = Object.entries(texts).map(([key, text]) => [key, base64(text)]);
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata,
    type: typeof type === 'string' ? type : 'Opaque',
    data: Object.fromEntries(encoded),
  };
}

/**
 * The spec of a Deployment that starts a new pod before it stops an old one, so that a new tunnel
 * is ready before the old one closes.
 */
export function deploymentSpec(replicas: number, labels: object, pod: object, marks?: object) {
  return {
    replicas,
    selector: { matchLabels: labels },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    template: { metadata: { labels, ...(marks && { annotations: marks }) }, spec: pod },
  };
}

/** Files of a volume that a container reads. The source is a Secret or a ConfigMap. */
export type FileMount = readonly [name: string, mountPath: string, source: object];

/** The spec of a pod with one container, which is not root and reads files. */
export function podSpec(
  container: object,
  mounts: readonly FileMount[],
  imagePullSecrets: readonly string[],
) {
  const volumeMounts = mounts.map(([name, mountPath]) => ({ name, mountPath, readOnly: true }));
  const secrets = imagePullSecrets.map((name) => ({ name }));
  return {
    ...(secrets.length > 0 && { imagePullSecrets: secrets }),
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [{ ...container, securityContext: containerSecurity, volumeMounts }],
    volumes: mounts.map(([name, , source]) => ({ name, ...source })),
  };
}

const containerSecurity = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  privileged: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
} as const;

/**
 * The object of that kind and name among `objects`. Without a namespace, the object is one of the
 * whole cluster.
 */
export function findObject(
  objects: readonly KubeObject[],
  kind: string,
  name: string,
  namespace?: string,
): KubeObject | undefined {
  return objects.find(({ kind: found, metadata }) => {
    return found === kind && metadata.name === name && metadata.namespace === namespace;
  });
}

/** The object in `objects` that has the kind, the name and the namespace of `object`. */
export function findSame(objects: readonly KubeObject[], { kind, metadata }: KubeObject) {
  return findObject(objects, kind, metadata.name, metadata.namespace);
}
