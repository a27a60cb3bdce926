/** Replaced by the name of the cluster in names and paths of some options. */
export const clusterVariable = '{cluster}';

/** Puts the name of a cluster, which is a DNS label, into a text with `{cluster}`. */
export function withCluster(text: string, cluster: string): string {
  return text.replaceAll(clusterVariable, cluster);
}
