import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { addonName, apiGroups, serverAccount, hubLabel } from '../api/names.ts';
import type { KubeObject, OwnerReference } from '../../kube/client/kube-object.ts';
import { type Entrypoint, serviceProxyResource } from './entrypoint.ts';
import { clusterMeta, hubMeta, ownerOf } from '../configuration/owned-metadata.ts';

const rbac = `${apiGroups.rbac}/v1`;
const brokerRoleName = 'open-cluster-management:cluster-proxy:proxy-server';

/**
 * The Role that lets an agent open a tunnel through the hub's kube-apiserver. The name is upstream's, whose Role of that name
 * allows everything on pods; per cluster, the registration binds it to that cluster's user or group.
 */
export const portForwardRoleName = 'cluster-proxy-addon-agent:portforward';

/** Which Role a cluster's addon agent is to be bound to, and where; undefined where agents do not come through the kube-apiserver. */
export function portForwardRole(
  configuration: ManagedProxyConfiguration,
  entrypoint: Entrypoint,
):
  | { readonly namespace: string; readonly name: string; readonly owner: OwnerReference }
  | undefined {
  if (entrypoint.kind !== 'PortForward') return undefined;
  const { namespace } = entrypoint;
  return { namespace, name: portForwardRoleName, owner: ownerOf(configuration) };
}

/**
 * Who the brokers are, and what they may do: check tokens of agents, and see which clusters are accepted. `cluster-proxy` is rendered
 * because upstream has it; it often is the addon manager's own and so must outlive the configuration.
 */
export function brokerAccounts(configuration: ManagedProxyConfiguration): readonly KubeObject[] {
  const { namespace } = configuration.spec.proxyServer;
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { namespace, name: addonName, labels: hubLabel },
    },
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: hubMeta(configuration, serverAccount),
      automountServiceAccountToken: false,
    },
    {
      apiVersion: rbac,
      kind: 'ClusterRole',
      metadata: clusterMeta(configuration, brokerRoleName),
      rules: [
        { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
        {
          apiGroups: ['cluster.open-cluster-management.io'],
          resources: ['managedclusters'],
          verbs: ['get', 'list', 'watch'],
        },
      ],
    },
    {
      apiVersion: rbac,
      kind: 'ClusterRoleBinding',
      metadata: clusterMeta(configuration, brokerRoleName),
      roleRef: { apiGroup: apiGroups.rbac, kind: 'ClusterRole', name: brokerRoleName },
      subjects: [{ kind: 'ServiceAccount', name: serverAccount, namespace }],
    },
  ];
}

/** One verb on one port of one Service. */
export function portForwardRoleObject(configuration: ManagedProxyConfiguration): KubeObject {
  return {
    apiVersion: rbac,
    kind: 'Role',
    metadata: hubMeta(configuration, portForwardRoleName),
    rules: [
      {
        apiGroups: [''],
        resources: ['services/proxy'],
        resourceNames: [serviceProxyResource(configuration)],
        verbs: ['get'],
      },
    ],
  };
}
