import { Informer, type InformerOptions } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { parseConfigReference, parseConfigReferent } from '../api/config-reference.ts';
import { fields, items } from '../api/fields.ts';
import { parseManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { parseManagedCluster } from '../api/managed-cluster.ts';
import {
  addonName,
  apiGroups,
  configKinds,
  configurationApiVersion,
  configurationKind,
  labels,
  proxyConfigurationName,
  tlsProfileName,
} from '../api/names.ts';
import { trimToFingerprint, trimManagedCluster, trimManifestWork } from './cached-object.ts';
import type { AddonContext } from './addon-context.ts';

export interface WatchesOptions extends Pick<AddonContext, 'api' | 'clock' | 'log'> {
  /** The version of OCM's addon API on the hub, for example `v1alpha1`. */
  readonly addonVersion: string;
  /** The namespace of the ConfigMap `ocm-tls-profile`. */
  readonly namespace: string;
  readonly signerNamespace: string;
  /** The Secrets of the CAs. */
  readonly signerSecrets: readonly string[];
}

/** Names of the indexes. */
export const byCluster = 'cluster';
export const byDeploymentConfig = 'deployment config';

const ofThisAddon = `${labels.addonName}=${addonName}`;
const named = (name: string) => ({ fieldSelector: `metadata.name=${name}` });
const labelledCluster = ({ metadata }: KubeObject): readonly string[] => {
  const name = metadata.labels?.[labels.clusterName];
  return name === undefined ? [] : [name];
};

/**
 * Cached copies of all objects that agents depend on, except those in the namespace of the brokers
 * (`HubNamespace`).
 */
export class Watches {
  readonly configurations: Informer;
  readonly tlsProfiles: Informer;
  readonly signers: readonly Informer[];
  readonly managementAddOns: Informer;
  readonly addOns: Informer;
  readonly clusters: Informer;
  readonly deploymentConfigs: Informer;
  readonly works: Informer;
  /** Roles and RoleBindings of agents, by kind. */
  readonly access: Readonly<Record<'Role' | 'RoleBinding', Informer>>;
  readonly requests: Informer;
  readonly all: readonly Informer[];

  constructor({ api, clock, log, addonVersion, ...where }: WatchesOptions) {
    const { namespace, signerNamespace, signerSecrets } = where;
    const all: Informer[] = [];
    const watch = (
      apiVersion: string,
      kind: string,
      options: Partial<InformerOptions<KubeObject>> & { readonly namespace?: string },
    ): Informer => {
      const { namespace, ...rest } = options;
      const collection = { apiVersion, kind, namespace };
      const informer = new Informer({ api, clock, log, collection, ...rest });
      all.push(informer);
      return informer;
    };
    const addon = `${apiGroups.addon}/${addonVersion}`;
    this.configurations = watch(configurationApiVersion, configurationKind, {
      ...named(proxyConfigurationName),
    });
    this.tlsProfiles = watch('v1', 'ConfigMap', { namespace, ...named(tlsProfileName) });
    this.signers = signerSecrets.map((name) =>
      // Keys are not cached. A reconcile reads them from the API server.
      watch('v1', 'Secret', {
        namespace: signerNamespace,
        keep: trimToFingerprint,
        ...named(name),
      }),
    );
    this.managementAddOns = watch(addon, 'ClusterManagementAddOn', named(addonName));
    this.addOns = watch(addon, 'ManagedClusterAddOn', {
      ...named(addonName),
      indexers: { [byDeploymentConfig]: deploymentConfigsOf },
    });
    this.clusters = watch('cluster.open-cluster-management.io/v1', 'ManagedCluster', {
      keep: trimManagedCluster,
    });
    this.deploymentConfigs = watch(addon, 'AddOnDeploymentConfig', {});
    this.works = watch('work.open-cluster-management.io/v1', 'ManifestWork', {
      labelSelector: ofThisAddon,
      keep: trimManifestWork,
      indexers: { [byCluster]: ({ metadata }) => [metadata.namespace ?? ''] },
    });
    const accessTo = (kind: 'Role' | 'RoleBinding') =>
      watch(`${apiGroups.rbac}/v1`, kind, {
        labelSelector: ofThisAddon,
        keep: trimToFingerprint,
        indexers: { [byCluster]: labelledCluster },
      });
    this.access = { Role: accessTo('Role'), RoleBinding: accessTo('RoleBinding') };
    this.requests = watch('certificates.k8s.io/v1', 'CertificateSigningRequest', {
      labelSelector: ofThisAddon,
      indexers: { [byCluster]: labelledCluster },
    });
    this.all = all;
  }

  /** Watches until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.all.map((informer) => informer.run(signal)));
  }
}

/**
 * A managed cluster and its addon. Undefined: it does not exist, or the cache has not seen it yet.
 */
export function ownersOf({ clusters, addOns }: Pick<Watches, 'clusters' | 'addOns'>, name: string) {
  const cluster = clusters.get(name);
  const addon = addOns.get(`${name}/${addonName}`);
  return {
    cluster: cluster && parseManagedCluster(cluster),
    addon: addon && parseManagedClusterAddOn(addon),
  };
}

/**
 * `namespace/name` of the configurations of an addon object, in its spec or selected by OCM in its
 * status.
 */
function deploymentConfigsOf({ spec, status }: KubeObject): readonly string[] {
  const own = items(fields(spec)['configs']).map(parseConfigReferent);
  const references = items(fields(status)['configReferences']);
  const desired = references.flatMap((item) => parseConfigReference(item).desired ?? []);
  const configs = [...own, ...desired].filter(({ resource }) => resource === deploymentConfigs);
  return [...new Set(configs.map(({ namespace, name }) => `${namespace}/${name}`))];
}

const { resource: deploymentConfigs } = configKinds.deploymentConfig;
