import { isClusterName } from './cluster-name.ts';

/** The add-on's name in Open Cluster Management. The names that identify clusters contain it. */
export const addOnName = 'cluster-proxy';

/** The DNS name that the klusterlet requests in every certificate of the add-on. */
export const agentDnsName = `${addOnName}.addon.open-cluster-management.io`;

/** The name of the signer of agents' certificates. */
export const agentSignerName = 'open-cluster-management.io/proxy-agent-signer';

/** The parts of a certificate's subject that identify its owner. */
export interface AgentSubject {
  readonly commonName: string;
  readonly organizations: readonly string[];
}

const clusterPrefix = 'system:open-cluster-management:cluster:';

/** The group of the add-on's agents in this cluster. No other user is in this group. */
export function clusterGroup(cluster: string): string {
  return `${clusterPrefix}${cluster}:addon:${addOnName}`;
}

/** The group of all the add-on's agents. */
const addOnGroup = `system:open-cluster-management:addon:${addOnName}`;

/**
 * The names in certificates of Cluster Proxy's agents, in every cluster: their group, and their
 * users for the tunnel and for the hub.
 */
const earlierNames: ReadonlySet<string> = new Set(
  ['', ':proxy-agent', ':addon-agent'].map((role) => `open-cluster-management:${addOnName}${role}`),
);

/**
 * Whether only agents, of Cluster Proxy or culvert, have this common name or organization. One such
 * name in a subject makes it the subject of an agent.
 */
export function isAgentName(name: string): boolean {
  if (name === addOnGroup || earlierNames.has(name)) return true;
  const [, addOn = ''] = name.startsWith(clusterPrefix) ? name.split(':addon:') : [];
  return addOn === addOnName || addOn.startsWith(`${addOnName}:agent:`);
}

/**
 * The user and the groups that Open Cluster Management assigns by default to the add-on's agents of
 * a cluster.
 */
export function agentSubject(cluster: string, agentName: string): AgentSubject {
  return {
    commonName: `${clusterGroup(cluster)}:agent:${agentName}`,
    organizations: [clusterGroup(cluster), addOnGroup, 'system:authenticated'],
  };
}

/**
 * The cluster of a certificate with this subject. Undefined when the subject names no cluster or
 * several. Group and user must agree, because neither alone is sufficient.
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
