import { describe, expect, it } from 'vitest';
import {
  findDeploymentConfig,
  installNamespaceOf,
} from '../../../src/addon/api/addon-deployment-config.ts';
import { addOn, deploymentConfigReference, proxyConfigurationReference } from './ocm-objects.ts';

const cacheWith = (spec: object) =>
  new Map([
    [
      'config/deploy',
      {
        apiVersion: 'addon.open-cluster-management.io/v1alpha1',
        kind: 'AddOnDeploymentConfig',
        metadata: { name: 'deploy', namespace: 'config' },
        spec,
      },
    ],
  ]);

const referring = addOn({
  status: { configReferences: [proxyConfigurationReference, deploymentConfigReference] },
});

describe('the install namespace', () => {
  const namespaceFor = (addon: typeof referring, spec?: object) =>
    installNamespaceOf(
      findDeploymentConfig(addon, spec === undefined ? new Map() : cacheWith(spec)),
      'default-ns',
    );

  it("The install namespace is the addon's own if the addon refers to no configuration", () => {
    expect(namespaceFor(addOn(), { agentInstallNamespace: 'elsewhere' })).toBe('default-ns');
  });

  it('The install namespace comes from the configuration, or is the default if the configuration has none', () => {
    expect(namespaceFor(referring, { agentInstallNamespace: 'elsewhere' })).toBe('elsewhere');
    expect(namespaceFor(referring, { agentInstallNamespace: '' })).toBe('default-ns');
    expect(namespaceFor(referring, {})).toBe('default-ns');
  });

  it('The install namespace is not guessed if the configuration is missing', () => {
    expect(namespaceFor(referring)).toBeUndefined();
    expect(findDeploymentConfig(referring, new Map())).toEqual({
      kind: 'missing',
      message:
        'ManagedClusterAddOn cluster1/cluster-proxy refers to AddOnDeploymentConfig config/deploy, which does not exist; create it or remove the reference',
    });
  });
});
