import { clusterAlias } from '../base/names/cluster-alias.ts';
import type { MaybePromise } from '../base/maybe-promise.ts';
import { isClusterAlias } from '../base/names/cluster-name.ts';
import { AccessError } from './access-error.ts';
import { type LabelSelector, type Labels, parseLabelSelector } from './label-selector.ts';
import type { ClusterScope } from './subject.ts';

/** The clusters that the hub cluster knows. */
export interface ClusterDirectory {
  /**
   * Undefined: no such cluster is known now.
   *
   * @throws AccessError `unavailable` a directory that has to ask gets no answer
   */
  labelsOf(cluster: string): Labels | undefined | Promise<Labels | undefined>;
  /** The names of all clusters, to find the cluster of an alias. */
  names(): Iterable<string>;
}

/** Knows no cluster, so selectors fit none. */
export const noClusters: ClusterDirectory = { labelsOf: () => undefined, names: () => [] };

/**
 * Finds the name of a cluster that a client may have addressed by its alias. An alias of no known
 * cluster stays as it is, and then only fits rules for all clusters.
 */
export function clusterNameOf(
  cluster: string,
  directory: ClusterDirectory,
  otherNames: Iterable<string> = [],
): MaybePromise<string> {
  if (!isClusterAlias(cluster)) return cluster;
  return nameOfAlias(cluster, new Set([...otherNames, ...directory.names()]));
}

/** How many aliases are remembered. */
const maxAliases = 50_000;

/**
 * Aliases by name. A client may dial any alias, and without this each dial would hash all names of a
 * fleet.
 */
const aliases = new Map<string, string>();

async function nameOfAlias(alias: string, names: Iterable<string>): Promise<string> {
  for (const name of names) {
    if ((aliases.get(name) ?? (await rememberedAlias(name))) === alias) return name;
  }
  return alias;
}

async function rememberedAlias(name: string): Promise<string> {
  const alias = await clusterAlias(name);
  if (aliases.size >= maxAliases) aliases.clear();
  aliases.set(name, alias);
  return alias;
}

/**
 * The reason why a cluster is not in the scope of a credential; undefined: it is.
 *
 * @throws AccessError `unavailable` the labels of the cluster are not known now
 */
export async function scopeProblem(
  cluster: string,
  scope: ClusterScope | undefined,
  directory: ClusterDirectory,
): Promise<string | undefined> {
  if (scope === undefined) return undefined;
  const name = await clusterNameOf(cluster, directory, scope.names);
  if (scope.names.includes(name)) return undefined;
  const notFor = `is not for cluster ${cluster}`;
  if (scope.selector === undefined) return notFor;
  const labels = await directory.labelsOf(name);
  if (labels === undefined) return `${notFor}, whose labels are not known here`;
  return selectorOf(scope.selector)(labels) ? undefined : `${notFor}, whose labels do not fit`;
}

/** A selector that cannot be read fits nothing. */
function selectorOf(text: string): LabelSelector {
  try {
    return parseLabelSelector(text);
  } catch (thrown) {
    if (thrown instanceof AccessError) return () => false;
    throw thrown;
  }
}
