import { createHash } from 'node:crypto';
import { agentSignerName, agentSubject } from '../../base/names/agent-subject.ts';
import { addonName } from './names.ts';
import { kubeClientSigner, type Registration } from './registration-config.ts';

/** The Secrets that the klusterlet creates for the two registrations, in the agent's namespace. */
export const agentSecrets = {
  hubKubeconfig: `${addonName}-hub-kubeconfig`,
  certificate: `${addonName}-${agentSignerName.replaceAll('/', '-')}-client-cert`,
} as const;

/** The ServiceAccount that OCM creates on the hub for an agent whose klusterlet uses tokens. */
export function agentServiceAccountUser(cluster: string): string {
  return `system:serviceaccount:${cluster}:${addonName}-agent`;
}

/**
 * Both identities of the agent of `cluster`: the first for the hub's kube-apiserver, the second for
 * the broker. They have OCM's default user and groups for an addon, so both name the cluster.
 *
 * @param organizationalUnit names the CA that signs. A new value makes every klusterlet request a
 *   new certificate.
 */
export function agentRegistrations(
  cluster: string,
  organizationalUnit: string,
): readonly Registration[] {
  const { commonName, organizations } = agentSubject(cluster, addonName);
  const subject = { user: commonName, groups: organizations };
  return [
    { ...subject, signer: kubeClientSigner, organizationalUnits: [] },
    { ...subject, signer: agentSignerName, organizationalUnits: [organizationalUnit] },
  ];
}

/**
 * The name of a CA in the subjects of its certificates. An organizational unit has at most 64
 * characters (RFC 5280).
 */
export function organizationalUnitOf(caPem: string): string {
  return `signer-${createHash('sha256').update(caPem).digest('hex').slice(0, 48)}`;
}
