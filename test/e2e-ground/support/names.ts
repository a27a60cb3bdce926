export const hubNamespace = 'open-cluster-management-addon';
export const installNamespace = 'open-cluster-management-cluster-proxy';
export const addon = 'cluster-proxy';
export const release = 'cluster-proxy';
/** Of what the tests themselves put on clusters. */
export const testNamespace = 'e2e';
/**
 * The version that the hub stores. It serves v1beta1 as well and has no webhook that converts, so what goes through v1beta1, and
 * kubectl left alone does, loses the fields that the two do not share.
 */
export const addonResource = 'managedclusteraddons.v1alpha1.addon.open-cluster-management.io';
