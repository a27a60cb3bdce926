import { type Fields, fields, items, text } from './fields.ts';
import { configKinds } from './names.ts';

/** A configuration. The namespace of a cluster-scoped one is empty. */
export type ConfigReferent = Readonly<ReturnType<typeof parseConfigReferent>>;

/** A kind of configuration. */
export type ConfigKind = Pick<ConfigReferent, 'group' | 'resource'>;

/**
 * An entry of `status.configReferences`: a configuration that OCM's addon manager selected for this
 * cluster.
 */
export type ConfigReference = Readonly<ReturnType<typeof parseConfigReference>>;

export function parseConfigReference(item: Fields) {
  const kind = { group: text(item.group), resource: text(item.resource) };
  const { specHash, ...config } = fields(item.desiredConfig);
  const desired = { ...parseConfigReferent({ ...config, ...kind }), specHash: text(specHash) };
  return {
    ...kind,
    desired: desired.name === '' ? undefined : desired,
  };
}

export function parseConfigReferent({ group, resource, namespace, name }: Fields) {
  return {
    group: text(group),
    resource: text(resource),
    namespace: text(namespace),
    name: text(name),
  };
}

export function isSameKind(a: ConfigKind, b: ConfigKind): boolean {
  return a.group === b.group && a.resource === b.resource;
}

export function isSameConfig(a: ConfigReferent, b: ConfigReferent): boolean {
  return isSameKind(a, b) && a.namespace === b.namespace && a.name === b.name;
}

/** The generation and the hash of a configuration, which OCM expects in statuses. */
export interface ConfigState {
  readonly generation: number;
  /** The result of `specHash`. */
  readonly specHash: string;
}

/** Looks up a configuration. Undefined: it does not exist. */
export type ConfigLookup = (config: ConfigReferent) => ConfigState | undefined;

/** The list with `change` for each item. A value that is no list stays as it is. */
export function mapped(list: unknown, change: (item: Fields) => Fields): unknown {
  return Array.isArray(list) ? items(list).map(change) : list;
}

/**
 * The list of references with `change` for each configuration that exists and that the addon
 * supports.
 */
export function mappedReferences(
  list: unknown,
  findConfig: ConfigLookup,
  change: (item: Fields, desired: ConfigReferent, state: ConfigState) => Fields,
): unknown {
  return mapped(list, (item) => {
    const { desired } = parseConfigReference(item);
    const isOurs = Object.values(configKinds).some((kind) => desired && isSameKind(kind, desired));
    const state = desired && isOurs ? findConfig(desired) : undefined;
    return desired && state ? change(item, desired, state) : item;
  });
}
