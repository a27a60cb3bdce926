import { isDeepStrictEqual } from 'node:util';
import {
  type ClusterSettings,
  clusterSettingsKey,
  formatClusterSettings,
} from '../../access/cluster-settings.ts';
import {
  type Controller,
  keysFrom,
  type ReconcileResult,
} from '../../kube/controllers/controller.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { findDeploymentConfig } from '../api/addon-deployment-config.ts';
import { Diagnostics } from '../api/diagnostics.ts';
import { fields } from '../api/fields.ts';
import { parseManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { clusterSettingsName, proxyConfigurationName } from '../api/names.ts';
import { findObject, findSame } from '../api/objects.ts';
import { readVariables } from '../compat/customized-variables.ts';
import { parseManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import type { FleetState, HubContext } from '../hub/hub-state.ts';
import { addonController } from '../runtime/controller-context.ts';
import { ObjectWriter, resultOf } from '../runtime/object-writer.ts';
import { NamespaceCache } from '../runtime/namespace-cache.ts';
import { keysOnChange } from '../runtime/observable.ts';
import { clusterHttp } from './cluster-http.ts';
import { issuerCa } from './issuer-ca.ts';

export interface ClusterSettingsControllerOptions extends HubContext {
  /** Whether brokers serve the user-server's port. */
  readonly enableServiceProxy: boolean;
  readonly enableImpersonation: boolean;
}

/**
 * Writes how the users of each cluster are authenticated into one ConfigMap, which the brokers
 * follow. So brokers need the right to read one object, and no right on the objects of OCM or on the
 * ConfigMaps with CAs.
 */
export class ClusterSettingsController {
  readonly #options: ClusterSettingsControllerOptions;
  readonly #configMaps: NamespaceCache;
  readonly controller: Controller;

  constructor(options: ClusterSettingsControllerOptions) {
    const { api, clock, watches } = options;
    const log = options.log.child({ controller: 'cluster-settings' });
    this.#options = { ...options, log };
    const onChange = () => this.controller.add(clusterSettingsName);
    const collectionsOf = (namespace: string) => [
      { collection: { apiVersion: 'v1', kind: 'ConfigMap', namespace } },
    ];
    this.#configMaps = new NamespaceCache({ api, clock, log, onChange, collectionsOf });
    const always = () => [clusterSettingsName];
    this.controller = addonController(options, {
      name: 'cluster-settings',
      sources: [
        keysFrom(watches.configurations, always),
        keysFrom(watches.deploymentConfigs, always),
        // Most changes of an addon object are reports of its health.
        keysFrom(watches.addOns, ({ old, now }) =>
          isDeepStrictEqual(configsOf(old), configsOf(now)) ? [] : always(),
        ),
        keysOnChange(options.state, always),
      ],
      reconcile: (_, signal) => this.#reconcile(signal),
      workers: 1,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.controller.run(signal);
    await this.#configMaps.close();
  }

  async #reconcile(signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const { watches, state, enableServiceProxy } = this.#options;
    const object = watches.configurations.get(proxyConfigurationName);
    const { fleet } = state.value;
    if (!enableServiceProxy || object === undefined || fleet === undefined) return undefined;
    const configuration = parseManagedProxyConfiguration(object);
    if (configuration.isDeleted) return undefined;
    this.#configMaps.follow(fleet.hubNamespace);
    await this.#configMaps.synced(signal);
    const data = { [clusterSettingsKey]: formatClusterSettings(this.#settings(fleet)) };
    const metadata = {
      ...hubMeta(configuration, clusterSettingsName),
      namespace: fleet.hubNamespace,
    };
    const writer = new ObjectWriter(this.#options, 'info', signal);
    const wanted = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data };
    await writer.apply(wanted, findSame(this.#configMaps.objects, wanted));
    return resultOf(writer);
  }

  #settings(fleet: FleetState): ReadonlyMap<string, ClusterSettings> {
    const settings = new Map<string, ClusterSettings>();
    for (const object of this.#options.watches.addOns.list()) {
      const addon = parseManagedClusterAddOn(object);
      if (!addon.isDeleting) settings.set(addon.cluster, this.#settingsOf(addon, fleet));
    }
    return settings;
  }

  /**
   * A cluster whose variables have problems gets no issuer, also not that of the fleet. Its addon
   * reports the problems.
   */
  #settingsOf(
    addon: ReturnType<typeof parseManagedClusterAddOn>,
    { proxy, hubNamespace }: FleetState,
  ): ClusterSettings {
    const found = findDeploymentConfig(addon, this.#options.watches.deploymentConfigs);
    const diagnostics = new Diagnostics();
    const given = found.kind === 'found' ? found.config.customizedVariables : [];
    const variables = readVariables(given, '', diagnostics);
    const { hubTokens, issuer, problems } = clusterHttp(this.#options, proxy, variables);
    const isUnknown = found.kind === 'missing' || diagnostics.problems.length + problems.length > 0;
    if (isUnknown) return { hubTokens, oidc: 'off' };
    if (issuer === undefined) return { hubTokens, oidc: undefined };
    const { options, caConfigMap: name } = issuer;
    const where = `ConfigMap ${hubNamespace}/${name}`;
    if (name === undefined) return { hubTokens, oidc: { options } };
    const configMap = findObject(this.#configMaps.objects, 'ConfigMap', name, hubNamespace);
    const ca = issuerCa(configMap, where);
    return { hubTokens, oidc: { options, ...ca } };
  }
}

/** The parts of an addon object that its configurations depend on. */
function configsOf(object: KubeObject | undefined): readonly unknown[] {
  const { deletionTimestamp } = object?.metadata ?? {};
  const { configReferences } = fields(object?.['status']);
  return [object !== undefined, deletionTimestamp, configReferences];
}
