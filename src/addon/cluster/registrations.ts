import { clusterGroup } from '../../base/names/agent-subject.ts';
import { agentServiceAccountUser } from '../api/agent-identity.ts';
import { describeRef } from '../../kube/client/kube-ref.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { apiGroups } from '../api/names.ts';
import type { Subject } from '../api/objects.ts';
import { kubeClientSigner, type Registration } from '../api/registration-config.ts';

/**
 * The entries for `status.registrations`. A klusterlet that uses tokens writes its own subject.
 * That subject is kept, or left empty until the klusterlet fills it in.
 */
export function nextRegistrations(desired: readonly Registration[], addon: ManagedClusterAddOn) {
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

/**
 * The subject that gets the rights of this cluster's agent. The other groups of the registration
 * contain every agent of the fleet.
 *
 * `pending`: the klusterlet has not written the subject yet. The addon changes when it does.
 *
 * A klusterlet can write the status of its addon, so the user in the status is compared with the
 * only user that is allowed.
 */
export function hubSubject(addon: ManagedClusterAddOn) {
  const known = (kind: 'User' | 'Group', name: string) => {
    const subject: Subject = { kind, apiGroup: apiGroups.rbac, name };
    return { kind: 'known', subject } as const;
  };
  if (addon.driver !== 'token') return known('Group', clusterGroup(addon.cluster));
  const expected = agentServiceAccountUser(addon.cluster);
  const user = addon.registrations.find(({ signer }) => signer === kubeClientSigner)?.user ?? '';
  if (user === expected) return known('User', expected);
  const where = `${describeRef(addon.ref)}: status.registrations`;
  // Until the klusterlet reports its driver, the status has the user that the addon wrote.
  if (user === '' || user.startsWith(`${clusterGroup(addon.cluster)}:agent:`)) {
    const message = `${where} has no user yet; the klusterlet, which uses tokens, writes ${expected} there`;
    return { kind: 'pending', message } as const;
  }
  const message = `${where} names the user ${JSON.stringify(user)}, the agent of this cluster is ${expected}; it gets no rights until the klusterlet corrects the entry`;
  // Only the agent of the cluster gets its rights.
  return { kind: 'foreign', message } as const;
}
