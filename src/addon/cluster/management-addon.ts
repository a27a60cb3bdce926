import { type Controller, keysFrom } from '../../kube/controllers/controller.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { type ConfigLookup, mapped, mappedReferences } from '../api/config-reference.ts';
import { addonName, annotations, configKinds, proxyConfigurationName } from '../api/names.ts';
import {
  addonController,
  type ControllerContext,
  statusPatch,
} from '../runtime/controller-context.ts';
import { fields, items, text } from '../api/fields.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';

/**
 * Writes the part of the ClusterManagementAddOn's status that OCM leaves to an addon. Its problems
 * are reported in the status of each ManagedClusterAddOn.
 */
export function managementAddOnController(
  options: ControllerContext & { readonly findConfig: ConfigLookup },
): Controller {
  const { api, watches, findConfig } = options;
  const { managementAddOns, configurations, deploymentConfigs } = watches;
  const always = () => [addonName];
  return addonController(options, {
    name: 'management-addon',
    sources: [managementAddOns, configurations, deploymentConfigs].map((informer) =>
      keysFrom(informer, always),
    ),
    async reconcile(_, signal) {
      const object = managementAddOns.get(addonName);
      if (object === undefined) return undefined;
      const patch = configHashesPatch(parseClusterManagementAddOn(object), findConfig);
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
export function configHashesPatch(cma: ClusterManagementAddOn, findConfig: ConfigLookup) {
  const { status } = cma;
  const progressions = mapped(status.installProgressions, (progression) => {
    const configReferences = withHashes(progression.configReferences, findConfig);
    const isSame = configReferences === progression.configReferences;
    return isSame ? progression : { ...progression, configReferences };
  });
  return statusPatch(cma, {
    defaultConfigReferences: withHashes(status.defaultConfigReferences, findConfig),
    installProgressions: progressions,
  });
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
 * @param object undefined: it does not exist
 */
export function managementAddOnProblems(object: KubeObject | undefined) {
  const cma = object && parseClusterManagementAddOn(object);
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

/** The fields of the ClusterManagementAddOn that the addon uses. */
type ClusterManagementAddOn = Readonly<ReturnType<typeof parseClusterManagementAddOn>>;

export function parseClusterManagementAddOn({ metadata, spec, status }: KubeObject) {
  return {
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    annotations: metadata.annotations ?? {},
    spec: fields(spec),
    status: fields(status),
  };
}
