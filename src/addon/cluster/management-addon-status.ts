import type { ClusterManagementAddOn } from '../api/cluster-management-addon.ts';
import { type ConfigLookup, mapped, mappedReferences } from '../api/config-reference.ts';
import { type Fields, fields, items, text } from '../api/fields.ts';
import { addonName, annotations, configKinds, proxyConfigurationName } from '../api/names.ts';

/**
 * Fills in the hashes of configurations for defaults and placements, as a JSON merge patch of the
 * `status` subresource. OCM's addon manager copies them to the clusters at the pace of the rollout.
 *
 * @returns undefined when all hashes are there
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
  return mappedReferences(references, findConfig, (item, { desired }, { specHash }) =>
    specHash === desired?.specHash
      ? item
      : { ...item, desiredConfig: { ...fields(item.desiredConfig), specHash } },
  );
}

/**
 * Problems of the ClusterManagementAddOn, as sentences for the status of every cluster's addon.
 *
 * @param cma undefined: it does not exist
 */
export function managementAddOnProblems(cma: ClusterManagementAddOn | undefined) {
  return { unconfigured: unconfiguredReason(cma), unfollowed: unfollowedReason(cma) };
}

/** Why OCM configures no cluster's addon. */
function unconfiguredReason(cma: ClusterManagementAddOn | undefined): string | undefined {
  const where = `ClusterManagementAddOn ${addonName}`;
  if (cma === undefined) {
    return `${where} does not exist, so OCM's addon manager configures no cluster; create it, the chart has one`;
  }
  const lifecycle = cma.annotations[annotations.lifecycle];
  if (lifecycle === undefined || lifecycle === 'addon-manager') return undefined;
  return `${where} has the annotation ${annotations.lifecycle}: ${lifecycle}, so OCM's addon manager leaves it alone and no cluster is configured; set it to addon-manager`;
}

/** Why OCM does not notice changes of the configuration. */
function unfollowedReason(cma: ClusterManagementAddOn | undefined): string | undefined {
  if (cma === undefined) return undefined;
  const { group, resource } = configKinds.proxyConfiguration;
  const declared = [...items(cma.spec.supportedConfigs), ...items(cma.spec.defaultConfigs)];
  const ours = declared.filter((item) => item.group === group && item.resource === resource);
  const names = ours.map((item) => text(fields(item.defaultConfig).name) || text(item.name));
  if (names.includes(proxyConfigurationName)) return undefined;
  return `ClusterManagementAddOn ${addonName} does not name ManagedProxyConfiguration ${proxyConfigurationName} as a default configuration, so addons do not follow its changes in their status; add it to the spec as the chart has it`;
}
