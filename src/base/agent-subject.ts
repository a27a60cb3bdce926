import { isDnsLabel } from './enrolment-token-subject.ts';

/** The add-on as Open Cluster Management knows it; it stands in names that clusters are recognised by. */
export const addOnName = 'cluster-proxy';

/** The name that the klusterlet asks to have in every certificate of the add-on. */
export const agentDnsName = `${addOnName}.addon.open-cluster-management.io`;

/** Who signs certificates of agents. */
export const agentSignerName = 'open-cluster-management.io/proxy-agent-signer';

/** The parts of a certificate's subject that say for whom it speaks. */
export interface AgentSubject {
  readonly commonName: string;
  readonly organizations: readonly string[];
}

const clusterPrefix = 'system:open-cluster-management:cluster:';

/** The group that only the add-on's agents of this cluster are in. */
export function clusterGroup(cluster: string): string {
  return `${clusterPrefix}${cluster}:addon:${addOnName}`;
}

/** User and groups that Open Cluster Management gives the add-on's agents of a cluster by default. */
export function agentSubject(cluster: string, agentName: string): AgentSubject {
  return {
    commonName: `${clusterGroup(cluster)}:agent:${agentName}`,
    organizations: [
      clusterGroup(cluster),
      `system:open-cluster-management:addon:${addOnName}`,
      'system:authenticated',
    ],
  };
}

/**
 * The cluster that a certificate with this subject speaks for; undefined where it names none, or several. Group and user must
 * agree: a name is taken from neither alone.
 */
export function clusterOfSubject({ commonName, organizations }: AgentSubject): string | undefined {
  const suffix = `:addon:${addOnName}`;
  const clusters = organizations
    .filter((group) => group.startsWith(clusterPrefix) && group.endsWith(suffix))
    .map((group) => group.slice(clusterPrefix.length, -suffix.length));
  const [cluster = ''] = clusters;
  if (clusters.length !== 1 || !isDnsLabel(cluster)) return undefined;
  return commonName.startsWith(`${clusterGroup(cluster)}:agent:`) ? cluster : undefined;
}
