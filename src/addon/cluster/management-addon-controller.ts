import { type Controller, keysFrom } from '../../kube/controllers/controller.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { parseClusterManagementAddOn } from '../api/cluster-management-addon.ts';
import type { ConfigLookup } from '../api/config-reference.ts';
import { addonName } from '../api/names.ts';
import { addonController, type ControllerContext } from '../runtime/controller-context.ts';
import { configHashesPatch } from './management-addon-status.ts';

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
