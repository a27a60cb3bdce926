import type { KubeObject, ObjectMeta, OwnerReference } from '../../kube/client/kube-object.ts';
import { refOf } from '../../kube/client/kube-ref.ts';
import { parseConditions } from './condition.ts';
import { parseConfigReference, parseConfigReferent } from './config-reference.ts';
import { fields, items } from './fields.ts';
import { annotations } from './names.ts';
import { parseDriver, parseRegistration } from './registration-config.ts';

/** The fields of a ManagedClusterAddOn that the addon uses, from either version of the API. */
export type ManagedClusterAddOn = Readonly<ReturnType<typeof parseManagedClusterAddOn>>;

export function parseManagedClusterAddOn(object: KubeObject) {
  const { metadata } = object;
  const status = fields(object.status);
  const registrations = items(status.registrations);
  const kubeClient = registrations.find((registration) => registration.type === 'kubeClient');
  return {
    ref: refOf(object),
    /** Of the API: `v1alpha1` or `v1beta1`. */
    version: object.apiVersion.slice(object.apiVersion.indexOf('/') + 1),
    /** Its namespace is the name of the cluster. */
    cluster: metadata.namespace ?? '',
    uid: metadata.uid ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    /** In milliseconds since 1970. NaN: not stored yet. */
    createdAtMs: Date.parse(metadata.creationTimestamp ?? ''),
    isDeleting: metadata.deletionTimestamp !== undefined,
    /**
     * The CA that signed for its agent, as the addon recorded it. Undefined: there is no record.
     */
    agentSigner: agentSignerIn(metadata),
    /** Configurations of this object, which override the defaults of the ClusterManagementAddOn. */
    configs: items(fields(object.spec).configs).map(parseConfigReferent),
    /** The whole `status`, for fields that are written back unchanged. */
    status,
    conditions: parseConditions(status.conditions),
    configReferences: items(status.configReferences).map(parseConfigReference),
    registrations: registrations.map(parseRegistration),
    driver: parseDriver(status.kubeClientDriver ?? fields(kubeClient?.kubeClient).driver),
  };
}

/**
 * The unit in the subject of the certificate (see `organizationalUnitOf`), and since when. NaN: a
 * person has edited the annotation.
 */
function agentSignerIn({ annotations: written = {} }: ObjectMeta) {
  const organizationalUnit = written[annotations.agentSigner];
  if (organizationalUnit === undefined) return undefined;
  return { organizationalUnit, sinceMs: Date.parse(written[annotations.agentSignerSince] ?? '') };
}

/** The owner of objects that are deleted with the addon. */
export function addOnOwner(addon: ManagedClusterAddOn): OwnerReference {
  const { apiVersion, kind, name } = addon.ref;
  return { apiVersion, kind, name, uid: addon.uid };
}
