import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { Controller, keysFrom } from '../../kube/controller.ts';
import type { KubeApi } from '../../kube/kube-api.ts';
import { refOf } from '../../kube/kube-ref.ts';
import { parseClusterManagementAddOn } from '../api/cluster-management-addon.ts';
import type { ConfigLookup } from '../api/config-reference.ts';
import { addonName } from '../api/names.ts';
import { controllerDefaults } from '../runtime/controller-defaults.ts';
import type { Watches } from '../runtime/watches.ts';
import { configHashesPatch } from './management-addon-status.ts';

export interface ManagementAddOnControllerOptions {
  readonly api: KubeApi;
  readonly watches: Watches;
  readonly findConfig: ConfigLookup;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Fills in what OCM's addon manager asks for in the status of the ClusterManagementAddOn. What is wrong with that each cluster's addon says. */
export function managementAddOnController(options: ManagementAddOnControllerOptions): Controller {
  const { api, watches, findConfig, clock } = options;
  const always = () => [addonName];
  const from = [watches.managementAddOns, watches.configurations, watches.deploymentConfigs];
  return new Controller({
    name: 'management-addon',
    sources: from.map((informer) => keysFrom(informer, always)),
    async reconcile(_, signal) {
      const object = watches.managementAddOns.get(addonName);
      if (object === undefined) return undefined;
      const addon = parseClusterManagementAddOn(object);
      const patch = configHashesPatch(addon, findConfig);
      if (patch !== undefined) {
        await api.patch(refOf(object), patch, { signal, subresource: 'status' });
      }
      return undefined;
    },
    workers: 1,
    ...controllerDefaults,
    clock,
    log: options.log,
  });
}
