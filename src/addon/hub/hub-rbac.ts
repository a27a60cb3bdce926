import type { KubeObject } from '../../kube/client/kube-object.ts';
import { addonName, hubLabel, serverAccount } from '../api/names.ts';
import { role, roleBinding, rule, serviceAccount } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { clusterMeta, hubMeta, ownerOf } from '../configuration/owned-metadata.ts';
import { type Entrypoint, serviceProxyResource } from './entrypoint.ts';
import type { TunnelRole } from './hub-state.ts';

const brokerRoleName = 'open-cluster-management:cluster-proxy:proxy-server';

/**
 * The Role that lets agents open tunnels through the hub's kube-apiserver. Each cluster has its own
 * binding to it. The name is from Cluster Proxy, whose Role allows everything on pods.
 */
export const portForwardRoleName = 'cluster-proxy-addon-agent:portforward';

/** The Role for agents' bindings. Undefined: agents do not connect through the kube-apiserver. */
export function portForwardRole(
  configuration: ManagedProxyConfiguration,
  entrypoint: Entrypoint,
): TunnelRole | undefined {
  if (entrypoint.kind !== 'PortForward') return undefined;
  const { namespace } = entrypoint;
  return { namespace, name: portForwardRoleName, owner: ownerOf(configuration) };
}

/**
 * The ServiceAccount of brokers and its rights: to check the tokens of agents, and to see which
 * clusters are accepted. Cluster Proxy has the account `cluster-proxy` as well. It is often the
 * addon manager's, so the configuration does not own it.
 */
export function brokerAccounts(configuration: ManagedProxyConfiguration): readonly KubeObject[] {
  const { namespace } = configuration.spec.proxyServer;
  const account = { kind: 'ServiceAccount', name: serverAccount, namespace } as const;
  const clusterWide = clusterMeta(configuration, brokerRoleName);
  return [
    serviceAccount({ namespace, name: addonName, labels: hubLabel }),
    serviceAccount(hubMeta(configuration, serverAccount), { automountServiceAccountToken: false }),
    role(clusterWide, [
      rule('authentication.k8s.io', 'tokenreviews', ['create']),
      rule('cluster.open-cluster-management.io', 'managedclusters', ['get', 'list', 'watch']),
    ]),
    roleBinding(clusterWide, brokerRoleName, account),
  ];
}

/** Allows one verb on one port of one Service. */
export function portForwardRoleObject(configuration: ManagedProxyConfiguration): KubeObject {
  return role(hubMeta(configuration, portForwardRoleName), [
    rule('', 'services/proxy', ['get'], serviceProxyResource(configuration)),
  ]);
}
