import { describe, expect, it } from 'vitest';
import {
  configHashesPatch,
  managementAddOnProblems,
} from '../../../src/addon/cluster/management-addon.ts';
import {
  deploymentConfigReference,
  proxyConfigurationReference,
  clusterManagementAddOn,
} from '../api/ocm-objects.ts';

const placement = { namespace: 'hub', name: 'cluster-proxy-placement' };
const object = (version = 'v1alpha1') => clusterManagementAddOn(version, placement);

describe('clusterManagementAddOn', () => {
  it.each(['v1alpha1', 'v1beta1'])(
    'clusterManagementAddOn returns an addon that OCM can configure, in %s',
    (version) => {
      const cma = object(version);
      expect(cma).toMatchObject({
        apiVersion: `addon.open-cluster-management.io/${version}`,
        metadata: {
          name: 'cluster-proxy',
          annotations: { 'addon.open-cluster-management.io/lifecycle': 'addon-manager' },
        },
        spec: { installStrategy: { type: 'Placements', placements: [placement] } },
      });
      expect(managementAddOnProblems(cma)).toEqual({});
    },
  );

  it('clusterManagementAddOn names what keeps OCM from configuring the addon', () => {
    const metadata = {
      name: 'cluster-proxy',
      annotations: { 'addon.open-cluster-management.io/lifecycle': 'self' },
    };
    const cma = { ...object(), metadata, spec: {} };
    expect(managementAddOnProblems(cma)).toEqual({
      unconfigured: expect.stringContaining('lifecycle: self'),
      unfollowed: expect.stringContaining('ManagedProxyConfiguration cluster-proxy'),
    });
    expect(managementAddOnProblems(undefined)).toEqual({
      unconfigured: expect.stringContaining('does not exist'),
    });
  });
});

describe('configHashesPatch', () => {
  const status = {
    defaultConfigReferences: [proxyConfigurationReference],
    installProgressions: [
      {
        name: 'p',
        namespace: 'hub',
        configReferences: [deploymentConfigReference, { group: 'x', resource: 'y' }],
      },
    ],
  };
  const metadata = { name: 'cluster-proxy', uid: 'u', resourceVersion: '3' };
  const cma = { ...object(), metadata, status };

  it('configHashesPatch fills in the hashes of defaults and of placements', () => {
    const patch = configHashesPatch(cma, ({ name }) => ({ generation: 1, specHash: `#${name}` }));
    expect(patch).toEqual({
      metadata: { uid: 'u', resourceVersion: '3' },
      status: {
        defaultConfigReferences: [
          {
            ...proxyConfigurationReference,
            desiredConfig: { name: 'cluster-proxy', specHash: '#cluster-proxy' },
          },
        ],
        installProgressions: [
          {
            name: 'p',
            namespace: 'hub',
            configReferences: [
              {
                ...deploymentConfigReference,
                desiredConfig: { name: 'deploy', namespace: 'config', specHash: '#deploy' },
              },
              { group: 'x', resource: 'y' },
            ],
          },
        ],
      },
    });
  });

  it('configHashesPatch writes nothing when all hashes are there, and no hash for a missing configuration', () => {
    const same = ({ name }: { name: string }) => ({
      generation: 1,
      specHash: name === 'deploy' ? 'aa' : 'bb',
    });
    expect(configHashesPatch(cma, same)).toBeUndefined();
    expect(configHashesPatch(cma, () => undefined)).toBeUndefined();
  });
});
