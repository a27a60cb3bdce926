import { type Fields, fields, integer, text } from './fields.ts';

/** A kind of configuration. */
export interface ConfigKind {
  readonly group: string;
  readonly resource: string;
}

/** One configuration; cluster-scoped ones have an empty namespace. */
export interface ConfigReferent extends ConfigKind {
  readonly namespace: string;
  readonly name: string;
}

/** An entry of `status.configReferences`: what OCM's addon manager wants this cluster to be configured with. */
export interface ConfigReference extends ConfigKind {
  readonly desired: (ConfigReferent & { readonly specHash: string }) | undefined;
  readonly lastObservedGeneration: number | undefined;
}

export function parseConfigReference(item: Fields): ConfigReference {
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

export function parseConfigReferent(item: Fields): ConfigReferent {
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

/** What is known of a configuration that exists: enough to fill in what OCM asks addons for. */
export interface ConfigState {
  readonly generation: number;
  /** As `specHash` makes it. */
  readonly specHash: string;
}

/** Looks a configuration up; undefined: there is none. */
export type ConfigLookup = (config: ConfigReferent) => ConfigState | undefined;
