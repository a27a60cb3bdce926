import { clusterGroup } from '../../base/agent-subject.ts';
import { agentServiceAccountUser } from '../api/agent-identity.ts';
import { describeAddOn, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { kubeClientSigner, type Registration } from '../api/registration-config.ts';

/**
 * What belongs into `status.registrations`: ours, but for the subject of a klusterlet that uses tokens. That one the klusterlet
 * writes itself, and it is kept as it is, or left empty for it to fill in.
 */
export function nextRegistrations(
  desired: readonly Registration[],
  addon: ManagedClusterAddOn,
): readonly Registration[] {
  if (addon.driver !== 'token') return desired;
  return desired.map((registration) => {
    if (registration.signer !== kubeClientSigner) return registration;
    const written = addon.registrations.find(({ signer }) => signer === kubeClientSigner);
    const isOurs = written?.user === registration.user;
    return written !== undefined && !isOurs
      ? written
      : { ...registration, user: '', groups: [], organizationalUnits: [] };
  });
}

/** A subject of a RoleBinding. */
export interface RbacSubject {
  readonly kind: 'User' | 'Group';
  readonly apiGroup: 'rbac.authorization.k8s.io';
  readonly name: string;
}

/** Who the agent is to the hub's kube-apiserver right now. */
export type HubSubject =
  | { readonly t: 'known'; readonly subject: RbacSubject }
  /** The klusterlet has not said yet; it will, and then the addon changes. */
  | { readonly t: 'pending'; readonly message: string }
  /** The status names somebody else. Nobody but that cluster's agent gets its rights. */
  | { readonly t: 'foreign'; readonly message: string };

/**
 * The one subject that gets the rights of this cluster's agent. Not the other groups of the registration: every agent of the fleet
 * is in those.
 *
 * A klusterlet can write its own addon's status, so what is found there is compared with the only name it may be.
 */
export function hubSubject(addon: ManagedClusterAddOn): HubSubject {
  const apiGroup = 'rbac.authorization.k8s.io';
  if (addon.driver !== 'token') {
    return {
      t: 'known',
      subject: { kind: 'Group', apiGroup, name: clusterGroup(addon.cluster) },
    };
  }
  const expected = agentServiceAccountUser(addon.cluster);
  const user = addon.registrations.find(({ signer }) => signer === kubeClientSigner)?.user ?? '';
  if (user === expected) {
    return { t: 'known', subject: { kind: 'User', apiGroup, name: expected } };
  }
  const where = `${describeAddOn(addon)}: status.registrations`;
  // Before it learns of the driver, our own name stands there.
  if (user === '' || user.startsWith(`${clusterGroup(addon.cluster)}:agent:`)) {
    const message = `${where} has no user yet; the klusterlet, which uses tokens, writes ${expected} there`;
    return { t: 'pending', message };
  }
  const message = `${where} names the user ${JSON.stringify(user)}, the agent of this cluster is ${expected}; it gets no rights until the klusterlet corrects the entry`;
  return { t: 'foreign', message };
}
