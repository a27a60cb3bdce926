const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Whether a text is a DNS label (RFC 1123): lower case letters, digits and inner hyphens, at most
 * 63 characters. It may start with a digit.
 */
export function isDnsLabel(text: string): boolean {
  return dnsLabel.test(text);
}

/**
 * Whether a name has the form of an alias (`clusterAlias`): `cluster-` and 48 hexadecimal digits.
 * Dialers use such a name for the cluster whose name has that hash.
 */
export function isClusterAlias(text: string): boolean {
  return /^cluster-[0-9a-f]{48}$/.test(text);
}

/**
 * Whether a cluster may have this name: a DNS label that does not have the form of an alias.
 * Otherwise an agent could take the alias of another cluster as its name and receive that cluster's
 * traffic.
 */
export function isClusterName(text: string): boolean {
  return isDnsLabel(text) && !isClusterAlias(text);
}

/** Advice for a cluster whose name has the form of an alias. */
export const aliasAsNameText =
  'it has the form of an alias (cluster- and 48 hexadecimal digits), by which another cluster may be addressed; name the cluster differently';
