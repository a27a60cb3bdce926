import { type Controller, keysFrom } from '../../kube/controllers/controller.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { type ConfigLookup, mapped, mappedReferences } from '../api/config-reference.ts';
import { addonName, annotations, configKinds, proxyConfigurationName } from '../api/names.ts';
import {
  addonController,
  type ControllerContext,
  statusPatch,
} from '../runtime/controller-context.ts';
import { type Fields, fields, items, present, text } from '../api/fields.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';

/**
 * Writes the part of the ClusterManagementAddOn's status that OCM leaves to an addon. Its problems
 * are reported in the status of each ManagedClusterAddOn.
 */
export function managementAddOnController(options: ControllerContext): Controller {
  const { api, watches } = options;
  const { managementAddOns, configurations, deploymentConfigs, findConfig } = watches;
  const always = () => [addonName];
  return addonController(options, {
    name: 'management-addon',
    sources: [managementAddOns, configurations, deploymentConfigs].map((informer) =>
      keysFrom(informer, always),
    ),
    async reconcile(_, signal) {
      const object = managementAddOns.get(addonName);
      if (object === undefined) return undefined;
      const patch = configHashesPatch(object, findConfig);
      if (patch !== undefined) {
        await api.patch(refOf(object), patch, { signal, subresource: 'status' });
      }
      return undefined;
    },
    workers: 1,
  });
}

/**
 * Fills in the hashes of configurations for defaults and placements, as a JSON merge patch of the
 * `status` subresource. OCM's addon manager copies them to the clusters at the pace of the rollout.
 *
 * @returns undefined when all hashes are there
 */
export function configHashesPatch({ metadata, ...object }: KubeObject, findConfig: ConfigLookup) {
  const status = fields(object['status']);
  const withReferences = ({ configReferences, ...progression }: Fields) =>
    present({ ...progression, configReferences: withHashes(configReferences, findConfig) });
  return statusPatch(
    { ...metadata, status },
    {
      defaultConfigReferences: withHashes(status.defaultConfigReferences, findConfig),
      installProgressions: mapped(status.installProgressions, withReferences),
    },
  );
}

function withHashes(references: unknown, findConfig: ConfigLookup): unknown {
  return mappedReferences(references, findConfig, (item, _, { specHash }) => {
    return { ...item, desiredConfig: { ...fields(item.desiredConfig), specHash } };
  });
}

/**
 * Problems of the ClusterManagementAddOn, as sentences for the status of every cluster's addon.
 *
 * @param object undefined: it does not exist
 */
export function managementAddOnProblems(object: KubeObject | undefined) {
  return { unconfigured: unconfiguredReason(object), unfollowed: unfollowedReason(object) };
}

/** Why OCM configures no cluster's addon. */
function unconfiguredReason(object: KubeObject | undefined): string | undefined {
  const where = `ClusterManagementAddOn ${addonName}`;
  if (object === undefined) {
    return `${where} does not exist, so OCM's addon manager configures no cluster; create it, the chart has one`;
  }
  const lifecycle = object.metadata.annotations?.[annotations.lifecycle];
  if (lifecycle === undefined || lifecycle === 'addon-manager') return undefined;
  return `${where} has the annotation ${annotations.lifecycle}: ${lifecycle}, so OCM's addon manager leaves it alone and no cluster is configured; set it to addon-manager`;
}

/** Why OCM does not notice changes of the configuration. */
function unfollowedReason(object: KubeObject | undefined): string | undefined {
  if (object === undefined) return undefined;
  const { group, resource } = configKinds.proxyConfiguration;
  const { supportedConfigs, defaultConfigs } = fields(object['spec']);
  const declared = [supportedConfigs, defaultConfigs].flatMap(items);
  const ours = declared.filter((item) => item.group === group && item.resource === resource);
  const names = ours.map((item) => text(fields(item.defaultConfig).name) || text(item.name));
  if (names.includes(proxyConfigurationName)) return undefined;
  return `ClusterManagementAddOn ${addonName} does not name ManagedProxyConfiguration ${proxyConfigurationName} as a default configuration, so addons do not follow its changes in their status; add it to the spec as the chart has it`;
}
