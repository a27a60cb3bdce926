import { Informer, type InformerOptions } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type ConfigReferent, type ConfigState, isSameKind } from '../api/config-reference.ts';
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
import { specHash } from '../api/spec-hash.ts';
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

const named = (name: string) => ({ fieldSelector: `metadata.name=${name}` });
const labelledCluster = ({ metadata }: KubeObject): readonly string[] =>
  [metadata.labels?.[labels.clusterName] ?? []].flat();

export type Watches = Readonly<ReturnType<typeof watchHub>>;

/**
 * Cached copies of all objects that agents depend on, except those in the namespace of the brokers
 * (`NamespaceCache`).
 */
export function watchHub({ api, clock, log, addonVersion, ...where }: WatchesOptions) {
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
  const labelled = { labelSelector: `${labels.addonName}=${addonName}` };
  const ofCluster = { ...labelled, indexers: { [byCluster]: labelledCluster } };
  const access = { ...ofCluster, keep: trimToFingerprint };
  // Keys are not cached. A reconcile reads them from the API server.
  const signer = { namespace: signerNamespace, keep: trimToFingerprint };
  const ofAddon = named(proxyConfigurationName);
  const configurations = watch(configurationApiVersion, configurationKind, ofAddon);
  const deploymentConfigs = watch(addon, 'AddOnDeploymentConfig', {});
  return {
    configurations,
    deploymentConfigs,
    /** Looks up a configuration. Undefined: it does not exist. */
    findConfig(config: ConfigReferent): ConfigState | undefined {
      const object = isSameKind(config, configKinds.proxyConfiguration)
        ? configurations.get(config.name)
        : deploymentConfigs.get(`${config.namespace}/${config.name}`);
      return object && { generation: object.metadata.generation ?? 0, specHash: specHash(object) };
    },
    tlsProfiles: watch('v1', 'ConfigMap', { namespace, ...named(tlsProfileName) }),
    signers: signerSecrets.map((name) => watch('v1', 'Secret', { ...signer, ...named(name) })),
    managementAddOns: watch(addon, 'ClusterManagementAddOn', named(addonName)),
    addOns: watch(addon, 'ManagedClusterAddOn', {
      ...named(addonName),
      indexers: { [byDeploymentConfig]: deploymentConfigsOf },
    }),
    clusters: watch('cluster.open-cluster-management.io/v1', 'ManagedCluster', {
      keep: trimManagedCluster,
    }),
    works: watch('work.open-cluster-management.io/v1', 'ManifestWork', {
      ...labelled,
      keep: trimManifestWork,
      indexers: { [byCluster]: ({ metadata }) => [metadata.namespace ?? ''] },
    }),
    /** Roles and RoleBindings of agents, by kind. */
    access: {
      Role: watch(`${apiGroups.rbac}/v1`, 'Role', access),
      RoleBinding: watch(`${apiGroups.rbac}/v1`, 'RoleBinding', access),
    },
    requests: watch('certificates.k8s.io/v1', 'CertificateSigningRequest', ofCluster),
    all: all as readonly Informer[],
  };
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
function deploymentConfigsOf(object: KubeObject): readonly string[] {
  const { configs, configReferences } = parseManagedClusterAddOn(object);
  const desired = configReferences.flatMap((reference) => reference.desired ?? []);
  const all = [...configs, ...desired].filter((one) =>
    isSameKind(one, configKinds.deploymentConfig),
  );
  return [...new Set(all.map(({ namespace, name }) => `${namespace}/${name}`))];
}
