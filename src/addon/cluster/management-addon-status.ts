import type { ClusterManagementAddOn } from '../api/cluster-management-addon.ts';
import { type ConfigLookup, isSameKind, parseConfigReference } from '../api/config-reference.ts';
import { type Fields, fields, items, text } from '../api/fields.ts';
import { addonName, annotations, configKinds, proxyConfigurationName } from '../api/names.ts';

/**
 * The hashes that OCM's addon manager asks an addon to fill in for defaults and placements, from where it carries them to the
 * clusters at the pace of the rollout: a JSON merge patch of the `status` subresource, or undefined where all are there.
 */
export function configHashesPatch(
  cma: ClusterManagementAddOn,
  findConfig: ConfigLookup,
): Fields | undefined {
  const { status, uid, resourceVersion } = cma;
  const defaults = withHashes(status.defaultConfigReferences, findConfig);
  const progressions = mapped(status.installProgressions, (progression) => {
    const references = withHashes(progression.configReferences, findConfig);
    return references === progression.configReferences
      ? progression
      : { ...progression, configReferences: references };
  });
  const changed = {
    ...(defaults !== status.defaultConfigReferences && { defaultConfigReferences: defaults }),
    ...(progressions !== status.installProgressions && { installProgressions: progressions }),
  };
  if (Object.keys(changed).length === 0) return undefined;
  return { metadata: { uid, resourceVersion }, status: changed };
}

function withHashes(references: unknown, findConfig: ConfigLookup): unknown {
  return mapped(references, (item) => {
    const { desired } = parseConfigReference(item);
    const isOurs =
      desired !== undefined && Object.values(configKinds).some((kind) => isSameKind(kind, desired));
    const state = isOurs ? findConfig(desired) : undefined;
    if (state === undefined || state.specHash === desired?.specHash) return item;
    return { ...item, desiredConfig: { ...fields(item.desiredConfig), specHash: state.specHash } };
  });
}

/** The very same list where `change` changes no item. */
function mapped(list: unknown, change: (item: Fields) => Fields): unknown {
  const before = items(list);
  const after = before.map(change);
  return after.every((item, index) => item === before[index]) ? list : after;
}

/** What is wrong with the ClusterManagementAddOn, in sentences that every cluster's addon says. */
export interface ManagementAddOnProblems {
  /** What keeps OCM from configuring any cluster's addon. */
  readonly unconfigured: string | undefined;
  /** What makes changes of the configuration pass OCM by. */
  readonly unfollowed: string | undefined;
}

/** @param cma undefined: it is not there */
export function managementAddOnProblems(
  cma: ClusterManagementAddOn | undefined,
): ManagementAddOnProblems {
  return { unconfigured: whyUnconfigured(cma), unfollowed: whyUnfollowed(cma) };
}

function whyUnconfigured(cma: ClusterManagementAddOn | undefined): string | undefined {
  const where = `ClusterManagementAddOn ${addonName}`;
  if (cma === undefined) {
    return `${where} is not there, so OCM's addon manager configures no cluster; create it, the chart has one`;
  }
  const lifecycle = cma.annotations[annotations.lifecycle];
  if (lifecycle === undefined || lifecycle === 'addon-manager') return undefined;
  return `${where} has the annotation ${annotations.lifecycle}: ${lifecycle}, so OCM's addon manager leaves it alone and no cluster is configured; set it to addon-manager`;
}

function whyUnfollowed(cma: ClusterManagementAddOn | undefined): string | undefined {
  if (cma === undefined) return undefined;
  const { group, resource } = configKinds.proxyConfiguration;
  const declared = [...items(cma.spec.supportedConfigs), ...items(cma.spec.defaultConfigs)];
  const ours = declared.filter((item) => item.group === group && item.resource === resource);
  const names = ours.map((item) => text(fields(item.defaultConfig).name) || text(item.name));
  if (names.includes(proxyConfigurationName)) return undefined;
  return `ClusterManagementAddOn ${addonName} does not name ManagedProxyConfiguration ${proxyConfigurationName} as a default configuration, so addons do not follow its changes in their status; add it to the spec as the chart has it`;
}
