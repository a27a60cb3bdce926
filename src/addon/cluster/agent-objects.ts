import type { KubeObject } from '../../kube/kube-object.ts';
import { addonName, annotations, apiGroups } from '../api/names.ts';
import { agentDeployment, agentPodLabels } from './agent-deployment.ts';
import { agentCaSecret, agentServiceAccount } from './agent-names.ts';
import { agentNetworkPolicy } from './agent-network-policy.ts';
import type { AgentValues } from './agent-values.ts';

const roleName = 'cluster-proxy-addon-agent';

/** Everything that the addon puts into a managed cluster, the largest last: what does not fit into one ManifestWork overflows at the end. */
export function agentObjects(values: AgentValues): readonly KubeObject[] {
  const { installNamespace: namespace } = values;
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, annotations: { [annotations.deletionOrphan]: '' } },
    },
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: agentServiceAccount, namespace },
    },
    {
      apiVersion: `${apiGroups.rbac}/v1`,
      kind: 'Role',
      metadata: { name: roleName, namespace },
      rules: [
        // A name cannot narrow "create": the object has none yet when the request is judged.
        { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
        {
          apiGroups: ['coordination.k8s.io'],
          resources: ['leases'],
          resourceNames: [addonName],
          verbs: ['get', 'update', 'patch'],
        },
      ],
    },
    {
      apiVersion: `${apiGroups.rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name: roleName, namespace },
      roleRef: { apiGroup: apiGroups.rbac, kind: 'Role', name: roleName },
      subjects: [{ kind: 'ServiceAccount', name: agentServiceAccount, namespace }],
    },
    ...(values.hasNetworkPolicy ? [agentNetworkPolicy(values, agentPodLabels)] : []),
    agentDeployment(values),
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: agentCaSecret, namespace },
      type: 'Opaque',
      data: { 'ca.crt': Buffer.from(values.trustedCertificates).toString('base64') },
    },
  ];
}
