import { createHash } from 'node:crypto';
import { agentSignerName, agentSubject } from '../../base/names/agent-subject.ts';
import { addonName } from './names.ts';
import { kubeClientSigner, type Registration } from './registration-config.ts';

/** The Secrets that the klusterlet makes of the two registrations, in the install namespace. */
export const agentSecrets = {
  hubKubeconfig: `${addonName}-hub-kubeconfig`,
  certificate: `${addonName}-${agentSignerName.replaceAll('/', '-')}-client-cert`,
} as const;

/** The ServiceAccount that OCM makes on the hub for an agent whose klusterlet uses tokens. */
export function agentServiceAccountUser(cluster: string): string {
  return `system:serviceaccount:${cluster}:${addonName}-agent`;
}

/**
 * Both identities of the agent of `cluster`: the first for the hub's kube-apiserver, the second for the broker. They are OCM's
 * default user and groups for an addon, so both name the cluster and nothing is shared by the fleet but what is meant for all.
 *
 * @param organizationalUnit stands for the CA that signs: another one makes every klusterlet ask for a new certificate
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

/** Names a CA in the subject of what it signs; short enough for an organizational unit (64 characters, RFC 5280). */
export function organizationalUnitOf(caPem: string): string {
  return `signer-${createHash('sha256').update(caPem).digest('hex').slice(0, 48)}`;
}
