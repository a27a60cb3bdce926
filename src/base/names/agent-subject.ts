import { isClusterName } from './cluster-name.ts';

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

/** The group of all the add-on's agents. */
const addOnGroup = `system:open-cluster-management:addon:${addOnName}`;

/** What Cluster Proxy had its agents certified as, of whatever cluster: their group, and their users towards the tunnel and the hub. */
const earlierNames: ReadonlySet<string> = new Set(
  ['', ':proxy-agent', ':addon-agent'].map((role) => `open-cluster-management:${addOnName}${role}`),
);

/**
 * Whether a common name or an organization is one that only agents are certified as, Cluster Proxy's or ours: one such name in a subject is
 * enough to make it an agent's.
 */
export function isAgentName(name: string): boolean {
  if (name === addOnGroup || earlierNames.has(name)) return true;
  const [, addOn = ''] = name.startsWith(clusterPrefix) ? name.split(':addon:') : [];
  return addOn === addOnName || addOn.startsWith(`${addOnName}:agent:`);
}

/** User and groups that Open Cluster Management gives the add-on's agents of a cluster by default. */
export function agentSubject(cluster: string, agentName: string): AgentSubject {
  return {
    commonName: `${clusterGroup(cluster)}:agent:${agentName}`,
    organizations: [clusterGroup(cluster), addOnGroup, 'system:authenticated'],
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
  if (clusters.length !== 1 || !isClusterName(cluster)) return undefined;
  return commonName.startsWith(`${clusterGroup(cluster)}:agent:`) ? cluster : undefined;
}
