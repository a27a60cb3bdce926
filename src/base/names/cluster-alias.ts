/**
 * The alias of a cluster: `cluster-` and the first 48 hex digits of the SHA-256 hash of its name.
 * Users of Cluster Proxy address the cluster by it: `cluster-<48
 * hex>.open-cluster-management.proxy`.
 */
export async function clusterAlias(cluster: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(cluster));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0'));
  return `cluster-${hex.join('').slice(0, 48)}`;
}
