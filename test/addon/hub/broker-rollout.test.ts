import { describe, expect, it } from 'vitest';
import type { ManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { configurationOf, deploymentOf, plan } from './hub-fixture.ts';

const annotation = 'proxy.open-cluster-management.io/configuration-generation';

const ours = (generation: number, image = 'culvert:v1') =>
  configurationOf({ image, replicas: 2 }, {}, generation);
/** The Deployment of a configuration as the API server stores it over the Deployment before. */
function stored(configuration: ManagedProxyConfiguration, before?: KubeObject): KubeObject {
  const objects = before === undefined ? [] : [before];
  const deployment = deploymentOf(plan(configuration, { objects }));
  const generation = (before?.metadata.generation ?? 0) + 1;
  return { ...deployment, metadata: { ...deployment.metadata, generation } };
}
const withPods = (deployment: KubeObject, pods: object = {}): KubeObject => {
  const all = { replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
  const observedGeneration = deployment.metadata.generation;
  return { ...deployment, status: { observedGeneration, ...all, ...pods } };
};
const generationOf = ({ metadata }: KubeObject) => metadata.annotations?.[annotation];

describe('the generation on the Deployment of the brokers', () => {
  it('The generation on a new Deployment of the brokers is that of the configuration', () => {
    expect(generationOf(stored(ours(1)))).toBe('1');
  });

  it('The generation on the Deployment of the brokers follows a configuration that changes no pod', () => {
    const before = withPods(stored(ours(1)));
    expect(generationOf(stored(ours(2), before))).toBe('2');
  });

  it('The generation on the Deployment of the brokers stays the old one until the new pods are available', () => {
    const before = withPods(stored(ours(1)));
    const changed = stored(ours(2, 'culvert:v2'), before);
    expect(generationOf(changed)).toBe('1');
    const pending = [
      changed,
      withPods(changed, { observedGeneration: before.metadata.generation }),
      withPods(changed, { replicas: 3 }),
      withPods(changed, { updatedReplicas: 1 }),
      withPods(changed, { availableReplicas: 1 }),
    ];
    for (const deployment of pending) {
      expect(generationOf(stored(ours(2, 'culvert:v2'), deployment))).toBe('1');
    }
    expect(generationOf(stored(ours(2, 'culvert:v2'), withPods(changed)))).toBe('2');
  });

  it('The generation on the Deployment of the brokers stays the old one while the image of Cluster Proxy fails', () => {
    const before = withPods(stored(ours(1)));
    const failing = withPods(stored(ours(2, 'cluster-proxy:v0.10.0'), before), {
      replicas: 3,
      updatedReplicas: 1,
    });
    expect(generationOf(stored(ours(2, 'cluster-proxy:v0.10.0'), failing))).toBe('1');
  });
});
