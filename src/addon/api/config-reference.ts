import { type Fields, fields, integer, text } from './fields.ts';

/** A kind of configuration. */
export interface ConfigKind {
  readonly group: string;
  readonly resource: string;
}

/** A configuration. The namespace of a cluster-scoped one is empty. */
export type ConfigReferent = Readonly<ReturnType<typeof parseConfigReferent>>;

/**
 * An entry of `status.configReferences`: a configuration that OCM's addon manager selected for this
 * cluster.
 */
export type ConfigReference = Readonly<ReturnType<typeof parseConfigReference>>;

export function parseConfigReference(item: Fields) {
  const kind = { group: text(item.group), resource: text(item.resource) };
  const desired = fields(item.desiredConfig);
  const isDesired = text(desired.name) !== '';
  return {
    ...kind,
    desired: isDesired
      ? { ...parseConfigReferent({ ...desired, ...kind }), specHash: text(desired.specHash) }
      : undefined,
    lastObservedGeneration: integer(item.lastObservedGeneration),
  };
}

export function parseConfigReferent(item: Fields) {
  return {
    group: text(item.group),
    resource: text(item.resource),
    namespace: text(item.namespace),
    name: text(item.name),
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
