import type { KubeObject } from '../../kube/client/kube-object.ts';
import { addonName, annotations } from '../api/names.ts';
import { leaseRules, role, roleBinding, secret, serviceAccount } from '../api/objects.ts';
import { agentDeployment } from './agent-deployment.ts';
import { agentCaSecret, agentServiceAccount } from './agent-names.ts';
import { agentNetworkPolicy } from './agent-network-policy.ts';
import type { AgentValues } from './agent-values.ts';

const roleName = `${addonName}-addon-agent`;

/** All objects of the addon in a managed cluster. The largest come last, because objects at the end overflow into another ManifestWork. */
export function agentObjects(values: AgentValues): readonly KubeObject[] {
  const { installNamespace: namespace } = values;
  const account = { kind: 'ServiceAccount', name: agentServiceAccount, namespace } as const;
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: namespace, annotations: { [annotations.deletionOrphan]: '' } },
    },
    serviceAccount({ name: agentServiceAccount, namespace }),
    role({ name: roleName, namespace }, leaseRules),
    roleBinding({ name: roleName, namespace }, roleName, account),
    ...(values.hasNetworkPolicy ? [agentNetworkPolicy(values)] : []),
    agentDeployment(values),
    secret({ name: agentCaSecret, namespace }, { 'ca.crt': values.trustedCertificates }),
  ];
}
