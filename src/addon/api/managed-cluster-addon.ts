import type { KubeRef } from '../../kube/client/kube-api.ts';
import type { KubeObject, ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';
import { type Condition, parseConditions } from './condition.ts';
import {
  type ConfigReference,
  type ConfigReferent,
  parseConfigReference,
  parseConfigReferent,
} from './config-reference.ts';
import { type Fields, fields, items, text } from './fields.ts';
import { annotations } from './names.ts';
import {
  type KubeClientDriver,
  parseDriver,
  parseRegistration,
  type Registration,
} from './registration-config.ts';

/** The fields of a ManagedClusterAddOn that the addon uses, from either version of the API. */
export interface ManagedClusterAddOn {
  /** `addon.open-cluster-management.io/v1alpha1` or `/v1beta1`. */
  readonly apiVersion: string;
  readonly name: string;
  /** Its namespace is the name of the cluster. */
  readonly cluster: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** In milliseconds since 1970. NaN: not stored yet. */
  readonly createdAtMs: number;
  readonly isDeleting: boolean;
  /** The CA that signed for its agent, as the addon recorded it. Undefined: there is no record. */
  readonly agentSigner: AgentSignerRecord | undefined;
  /** Configurations of this object, which override the defaults of the ClusterManagementAddOn. */
  readonly configs: readonly ConfigReferent[];
  /** The whole `status`, for fields that are written back unchanged. */
  readonly status: Fields;
  readonly conditions: readonly Condition[];
  readonly configReferences: readonly ConfigReference[];
  readonly registrations: readonly Registration[];
  readonly driver: KubeClientDriver;
  /** The namespace of the agent's Secrets and its lease. Empty: not set yet. */
  readonly installNamespace: string;
}

export interface AgentSignerRecord {
  /** The unit in the subject of the certificate, see `organizationalUnitOf`. */
  readonly organizationalUnit: string;
  /** In milliseconds since 1970. NaN: a person has edited the annotation. */
  readonly sinceMs: number;
}

export function parseManagedClusterAddOn(object: KubeObject): ManagedClusterAddOn {
  const { metadata } = object;
  const status = fields(object.status);
  const registrations = items(status.registrations);
  const kubeClient = registrations.find((registration) => registration.type === 'kubeClient');
  return {
    apiVersion: object.apiVersion,
    name: metadata.name,
    cluster: metadata.namespace ?? '',
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
    isDeleting: metadata.deletionTimestamp !== undefined,
    agentSigner: agentSignerIn(metadata),
    configs: items(fields(object.spec).configs).map(parseConfigReferent),
    status,
    conditions: parseConditions(status.conditions),
    configReferences: items(status.configReferences).map(parseConfigReference),
    registrations: registrations.map(parseRegistration),
    driver: parseDriver(status.kubeClientDriver ?? fields(kubeClient?.kubeClient).driver),
    installNamespace: text(status.namespace),
  };
}

function agentSignerIn({ annotations: written = {} }: ObjectMeta): AgentSignerRecord | undefined {
  const organizationalUnit = written[annotations.agentSigner];
  if (organizationalUnit === undefined) return undefined;
  return { organizationalUnit, sinceMs: Date.parse(written[annotations.agentSignerSince] ?? '') };
}

/** The version alone: `v1alpha1`. */
export function versionOf({ apiVersion }: Pick<ManagedClusterAddOn, 'apiVersion'>): string {
  return apiVersion.slice(apiVersion.indexOf('/') + 1);
}

export function addOnRef({ apiVersion, name, cluster }: ManagedClusterAddOn): KubeRef {
  return { apiVersion, kind: 'ManagedClusterAddOn', namespace: cluster, name };
}

/** The owner of objects that are deleted with the addon. */
export function addOnOwner(addon: ManagedClusterAddOn): OwnerReference {
  const { apiVersion, name, uid } = addon;
  return { apiVersion, kind: 'ManagedClusterAddOn', name, uid };
}

/** `ManagedClusterAddOn cluster1/cluster-proxy`, as sentences name it. */
export function describeAddOn({ cluster, name }: ManagedClusterAddOn): string {
  return `ManagedClusterAddOn ${cluster}/${name}`;
}
