import { describe, expect, it } from 'vitest';
import { refOf } from '../../../src/kube/client/kube-ref.ts';
import { hubAccess, hubAccessRefs, planHubAccess } from '../../../src/addon/cluster/hub-access.ts';
import { hubSubject } from '../../../src/addon/cluster/registrations.ts';
import { addOn, managedCluster } from '../api/ocm-objects.ts';

const owner = {
  apiVersion: 'proxy.open-cluster-management.io/v1alpha1',
  kind: 'ManagedProxyConfiguration',
  name: 'cluster-proxy',
  uid: 'u',
};
const tunnel = { namespace: 'hub', name: 'cluster-proxy-addon-agent:portforward', owner };

function accessOf(cluster: string, withTunnel = true) {
  const addon = addOn({ cluster });
  const known = hubSubject(addon);
  if (known.kind !== 'known') throw new Error(known.message);
  return hubAccess(addon, known.subject, withTunnel ? tunnel : undefined);
}

describe('hubAccess', () => {
  it('hubAccess lets the agent renew one lease in the namespace of its cluster', () => {
    const [role, binding, ...more] = accessOf('cluster1', false);
    expect(more).toEqual([]);
    expect(role).toMatchObject({
      kind: 'Role',
      metadata: { name: 'cluster-proxy-addon-agent', namespace: 'cluster1' },
      rules: [
        { resources: ['leases'], verbs: ['create'] },
        {
          resources: ['leases'],
          resourceNames: ['cluster-proxy'],
          verbs: ['get', 'update', 'patch'],
        },
      ],
    });
    expect(binding).toMatchObject({
      kind: 'RoleBinding',
      metadata: {
        name: 'cluster-proxy-addon-agent',
        namespace: 'cluster1',
        ownerReferences: [{ kind: 'ManagedClusterAddOn', name: 'cluster-proxy' }],
      },
      roleRef: { kind: 'Role', name: 'cluster-proxy-addon-agent' },
      subjects: [
        {
          kind: 'Group',
          name: 'system:open-cluster-management:cluster:cluster1:addon:cluster-proxy',
        },
      ],
    });
  });

  it('hubAccess lets the agent through the kube-apiserver if the entrypoint is there', () => {
    const binding = accessOf('cluster1')[2];
    expect(binding).toMatchObject({
      kind: 'RoleBinding',
      metadata: {
        name: 'cluster-proxy-addon-agent:portforward:cluster1',
        namespace: 'hub',
        ownerReferences: [owner],
      },
      roleRef: { kind: 'Role', name: 'cluster-proxy-addon-agent:portforward' },
    });
  });

  it('hubAccess shares no object and no subject between clusters', () => {
    const names = (cluster: string) =>
      accessOf(cluster).map((object) => JSON.stringify(refOf(object)));
    const all = [...names('cluster1'), ...names('cluster2')];
    expect(new Set(all).size).toBe(all.length);
    for (const object of accessOf('cluster2')) {
      expect(JSON.stringify(object['subjects'] ?? '')).not.toMatch(
        /cluster1|authenticated|addon:cluster-proxy",/,
      );
    }
  });

  it('hubAccess can delete every object that it has made', () => {
    const made = accessOf('cluster1').map(refOf);
    const refs = hubAccessRefs('cluster1', 'hub');
    expect(refs).toHaveLength(made.length);
    expect(refs).toEqual(expect.arrayContaining(made));
  });
});

describe('planHubAccess', () => {
  const plan = (addon = addOn(), isAccepted = true) =>
    planHubAccess(managedCluster({ isAccepted }), addon, tunnel, 'hub');
  const token = (user: string) => {
    const registrations = [
      { signerName: 'kubernetes.io/kube-apiserver-client', subject: { user } },
    ];
    return addOn({ status: { kubeClientDriver: 'token', registrations } });
  };
  const all = hubAccessRefs('cluster1', 'hub');

  it('planHubAccess gives the agent of an accepted cluster the rights that it needs', () => {
    expect(plan()).toEqual({
      apply: accessOf('cluster1'),
      remove: [],
      outcome: { kind: 'applied' },
    });
  });

  it('planHubAccess removes the right to use the entrypoint when agents no longer need it', () => {
    const without = planHubAccess(managedCluster(), addOn(), undefined, 'hub');
    expect(without.apply).toEqual(accessOf('cluster1', false));
    expect(without.remove).toEqual([all[2]]);
  });

  it('planHubAccess removes all rights of a cluster that is no longer accepted', () => {
    expect(plan(addOn(), false)).toEqual({
      apply: [],
      remove: all,
      outcome: {
        kind: 'pending',
        message: expect.stringContaining('does not accept ManagedCluster cluster1'),
      },
    });
  });

  it('planHubAccess removes all rights if the status names another user', () => {
    const { apply, remove, outcome } = plan(token('system:admin'));
    expect({ apply, remove, kind: outcome.kind }).toEqual({
      apply: [],
      remove: all,
      kind: 'failed',
    });
  });

  it('planHubAccess waits for a klusterlet that has not named the user', () => {
    const { apply, remove, outcome } = plan(token(''));
    expect({ apply, remove, kind: outcome.kind }).toEqual({
      apply: [],
      remove: [],
      kind: 'pending',
    });
  });
});
