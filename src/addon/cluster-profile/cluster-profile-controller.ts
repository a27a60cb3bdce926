import { Informer } from '../../kube/controllers/informer.ts';
import {
  type Controller,
  keysFrom,
  type ReconcileResult,
} from '../../kube/controllers/controller.ts';
import { labels, proxyConfigurationName } from '../api/names.ts';
import { parseManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import {
  addonController,
  type ControllerContext,
  patchStatus,
} from '../runtime/controller-context.ts';
import { ownersOf } from '../runtime/watches.ts';
import { accessProviderPatch, clusterOf, type ProfileAccess } from './access-provider.ts';
import { ServingCertificate } from './serving-certificate.ts';

export interface ClusterProfileControllerOptions extends ControllerContext {
  /** Whether brokers serve the user-server's port. */
  readonly enableServiceProxy: boolean;
}

const byCluster = 'cluster';

/** ClusterProfiles of OCM's clusters. Their labels are those that Cluster Proxy looks for. */
const labelSelector = `x-k8s.io/cluster-manager=open-cluster-management,${labels.clusterName}`;

/**
 * Tells in the status of ClusterProfiles how programs on the hub reach the clusters (KEP-4322,
 * KEP-5339). A hub without ClusterProfiles is no error: the controller begins when the CRD exists.
 */
export class ClusterProfileController {
  readonly #options: ClusterProfileControllerOptions;
  readonly #profiles: Informer;
  readonly #certificate: ServingCertificate;
  readonly controller: Controller;

  constructor(options: ClusterProfileControllerOptions) {
    const { api, clock, watches } = options;
    const log = options.log.child({ controller: 'cluster-profile' });
    this.#options = options;
    this.#profiles = new Informer({
      ...{ api, clock, log, labelSelector },
      collection: { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ClusterProfile' },
      indexers: { [byCluster]: (profile) => [clusterOf(profile)] },
    });
    const all = () => this.#profiles.keys();
    const onChange = () => {
      for (const key of all()) this.controller.add(key);
    };
    this.#certificate = new ServingCertificate({ api, clock, log, onChange });
    this.controller = addonController(options, {
      name: 'cluster-profile',
      sources: [
        keysFrom(this.#profiles),
        keysFrom(watches.configurations, all),
        keysFrom(watches.addOns, ({ key }) => this.#keysOf(key.slice(0, key.indexOf('/')))),
      ],
      reconcile: (key, signal) => this.#reconcile(key, signal),
      workers: 1,
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#profiles.run(signal), this.controller.run(signal)]);
    await this.#certificate.close();
  }

  #keysOf(cluster: string): readonly string[] {
    const profiles = this.#profiles.byIndex(byCluster, cluster);
    return profiles.map(({ metadata: { namespace, name } }) => `${namespace}/${name}`);
  }

  async #reconcile(key: string, signal: AbortSignal): Promise<ReconcileResult | undefined> {
    const profile = this.#profiles.get(key);
    if (profile === undefined || profile.metadata.deletionTimestamp !== undefined) return undefined;
    const access = this.#accessTo(clusterOf(profile));
    if (access === 'unknown') return undefined;
    const patch = accessProviderPatch(profile, access);
    if (patch !== undefined) await patchStatus(this.#options.api, profile, patch, signal);
    return undefined;
  }

  /**
   * How the cluster can be reached. Undefined: not at all. `unknown`: the certificate of the
   * user-server is missing, and an entry with an earlier certificate is better than none.
   */
  #accessTo(cluster: string): ProfileAccess | 'unknown' | undefined {
    const { watches, enableServiceProxy } = this.#options;
    const object = watches.configurations.get(proxyConfigurationName);
    const { addon } = ownersOf(watches, cluster);
    if (!enableServiceProxy || object === undefined) return undefined;
    const configuration = parseManagedProxyConfiguration(object);
    const { namespace } = configuration.spec.proxyServer;
    this.#certificate.follow(namespace);
    if (configuration.isDeleted || addon === undefined || addon.isDeleting) return undefined;
    const { ca } = this.#certificate;
    return ca === undefined ? 'unknown' : { namespace, ca };
  }
}
