import { describe, expect, it } from 'vitest';
import {
  accessProviderPatch,
  clusterOf,
} from '../../../src/addon/cluster-profile/access-provider.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';

const profile = (status: object = {}, clusterName = 'c1'): KubeObject => ({
  apiVersion: 'multicluster.x-k8s.io/v1alpha1',
  kind: 'ClusterProfile',
  metadata: {
    name: 'profile-1',
    namespace: 'fleet',
    labels: { 'open-cluster-management.io/cluster-name': clusterName },
  },
  status,
});
const access = { namespace: 'ocm', ca: 'PEM' };
const entry = (clusterName = 'c1') => ({
  name: 'open-cluster-management',
  cluster: {
    server: `https://cluster-proxy-addon-user.ocm:9092/${clusterName}`,
    'certificate-authority-data': Buffer.from('PEM').toString('base64'),
    extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { clusterName } }],
  },
});
const other = { name: 'other', cluster: { server: 'https://other' } };

describe('the access provider of a ClusterProfile', () => {
  it('The access provider of a ClusterProfile is added, and the conditions become a list', () => {
    expect(accessProviderPatch(profile(), access)).toEqual({
      accessProviders: [entry()],
      conditions: [],
    });
  });

  it('The access provider of a ClusterProfile is replaced in its place, and others stay', () => {
    const old = { name: 'open-cluster-management', cluster: { server: 'https://old' } };
    const status = { conditions: [], accessProviders: [old, other, old] };
    expect(accessProviderPatch(profile(status), access)).toEqual({
      accessProviders: [entry(), other],
    });
    const newest = { conditions: [], accessProviders: [other, entry()] };
    expect(accessProviderPatch(profile(newest), access)).toBeUndefined();
  });

  it('The access provider of a ClusterProfile is removed, and an entry of our name with another server stays', () => {
    const foreign = { name: 'open-cluster-management', cluster: { server: 'https://direct:6443' } };
    const status = { conditions: [], accessProviders: [foreign, entry(), other] };
    expect(accessProviderPatch(profile(status), undefined)).toEqual({
      accessProviders: [foreign, other],
    });
    const alone = { conditions: [], accessProviders: [entry()] };
    expect(accessProviderPatch(profile(alone), undefined)).toEqual({ accessProviders: null });
    expect(accessProviderPatch(profile(), undefined)).toBeUndefined();
  });

  it('The cluster of a ClusterProfile is in its label, and otherwise in its name', () => {
    expect(clusterOf(profile())).toBe('c1');
    expect(clusterOf(profile({}, ''))).toBe('profile-1');
    expect(clusterOf(profile({}, 'Not-A-Name'))).toBe('profile-1');
  });
});
