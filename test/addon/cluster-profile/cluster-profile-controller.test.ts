import { beforeAll, describe, expect, it } from 'vitest';
import { readFile } from 'node:fs/promises';
import type { AddonOptions } from '../../../src/addon/options.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { secret } from '../hub/hub-fixture.ts';
import { configuration, hub, HubWorld } from '../controllers/hub-world.ts';

const apiVersion = 'multicluster.x-k8s.io/v1alpha1';
const definition: KubeObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'clusterprofiles.multicluster.x-k8s.io' },
  spec: {
    group: 'multicluster.x-k8s.io',
    scope: 'Namespaced',
    names: { kind: 'ClusterProfile', plural: 'clusterprofiles' },
    versions: [{ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } }],
  },
};
const profile = (name: string, cluster: string): KubeObject => ({
  apiVersion,
  kind: 'ClusterProfile',
  metadata: {
    name,
    namespace: 'default',
    labels: {
      'x-k8s.io/cluster-manager': 'open-cluster-management',
      'open-cluster-management.io/cluster-name': cluster,
    },
  },
  spec: { clusterManager: { name: 'open-cluster-management' } },
  status: { conditions: [], accessProviders: [{ name: 'other', cluster: { server: 'x' } }] },
});

let certificate: string;
let nextCertificate: string;
beforeAll(async () => {
  await using certificates = await makeTestCertificates();
  certificate = await readFile(certificates.server.cert, 'utf8');
  nextCertificate = await readFile(certificates.serverAuthority.caFile, 'utf8');
});
const servingSecret = (cert: string) =>
  secret('cluster-proxy-user-serving-cert', { 'tls.crt': cert, 'tls.key': 'KEY' });

async function start(parts: Partial<AddonOptions> = {}, world?: HubWorld) {
  const hubWorld = world ?? (await HubWorld.create({ clusters: ['c1', 'c2'] }));
  await hubWorld.start({ features: new Set(['ClusterProfile']), ...parts });
  return hubWorld;
}

/** A hub with the definition of ClusterProfiles, a certificate, and a profile of `c1`. */
async function hubWithProfile(): Promise<HubWorld> {
  const world = await HubWorld.create({ clusters: ['c1', 'c2'] });
  world.api.put(definition);
  world.api.put(servingSecret(certificate));
  world.api.put(profile('profile-1', 'c1'));
  return world;
}

const providersOf = (world: HubWorld, name = 'profile-1') => {
  const object = world.api.peek({ apiVersion, kind: 'ClusterProfile', namespace: 'default', name });
  return items(fields(object?.['status'])['accessProviders']);
};
const serversOf = (world: HubWorld, name?: string) =>
  providersOf(world, name).map(({ cluster }) => fields(cluster)['server']);
const caOf = (world: HubWorld) => {
  const data = fields(providersOf(world)[1]?.['cluster'])['certificate-authority-data'];
  return typeof data === 'string' ? Buffer.from(data, 'base64').toString('utf8') : undefined;
};
const server = (cluster: string, namespace = hub) =>
  `https://cluster-proxy-addon-user.${namespace}:9092/${cluster}`;

describe('the controller of ClusterProfiles', () => {
  it('A ClusterProfile gets an access provider that follows the certificate at once', async () => {
    const world = await start({}, await hubWithProfile());
    await world.until(() => serversOf(world).includes(server('c1')));
    expect(serversOf(world)).toEqual(['x', server('c1')]);
    expect(caOf(world)?.trim()).toBe(certificate.trim());
    world.api.put(servingSecret(nextCertificate));
    await world.until(() => caOf(world)?.trim() === nextCertificate.trim(), { withinMs: 2_000 });
  });

  it('A ClusterProfile loses its access provider when the addon of its cluster is deleted', async () => {
    const world = await start({}, await hubWithProfile());
    world.api.put(profile('profile-2', 'c2'));
    await world.until(() => serversOf(world, 'profile-2').length === 2);
    await world.until(() => serversOf(world).length === 2);
    const { signal } = new AbortController();
    await world.api.delete(world.ref('ManagedClusterAddOn', 'cluster-proxy', 'c1'), { signal });
    await world.until(() => serversOf(world).length === 1, { withinMs: 2_000 });
    expect(serversOf(world, 'profile-2')).toEqual(['x', server('c2')]);
  });

  it('A ClusterProfile loses its access provider when the user-server is switched off', async () => {
    const world = await hubWithProfile();
    const addon = await world.start({ features: new Set(['ClusterProfile']) });
    await world.until(() => serversOf(world).length === 2);
    await world.stop(addon);
    await start({ enableServiceProxy: false }, world);
    await world.until(() => serversOf(world).length === 1);
    expect(serversOf(world)).toEqual(['x']);
  });

  it('A ClusterProfile keeps its access provider while the certificate is missing', async () => {
    const world = await start({}, await hubWithProfile());
    await world.until(() => serversOf(world).length === 2);
    const { signal } = new AbortController();
    await world.api.delete(world.ref('Secret', 'cluster-proxy-user-serving-cert', hub), { signal });
    await world.settle();
    expect(serversOf(world)).toEqual(['x', server('c1')]);
  });

  it('The controller of ClusterProfiles begins when their definition is installed', async () => {
    const world = await start();
    world.api.put(servingSecret(certificate));
    await world.settle();
    world.api.put(definition);
    world.api.put(profile('profile-1', 'c1'));
    await world.until(() => serversOf(world).length === 2);
    expect(serversOf(world)).toEqual(['x', server('c1')]);
  });

  it('The controller of ClusterProfiles is off without its feature gate', async () => {
    const world = await start({ features: new Set() }, await hubWithProfile());
    await world.until(() => world.work('c1') !== undefined);
    await world.settle();
    expect(serversOf(world)).toEqual(['x']);
    expect(world.api.calls.filter(({ kind }) => kind === 'ClusterProfile')).toEqual([]);
  });

  it('A change of another program in the meantime is not overwritten', async () => {
    const world = await hubWithProfile();
    let isFirst = true;
    world.intercept = ({ verb, kind }) => {
      if (verb !== 'patch' || kind !== 'ClusterProfile' || !isFirst) return undefined;
      isFirst = false;
      const stored = profile('profile-1', 'c1');
      const accessProviders = [{ name: 'newest', cluster: { server: 'y' } }];
      world.api.put({ ...stored, status: { conditions: [], accessProviders } });
      return undefined;
    };
    await start({}, world);
    await world.until(() => serversOf(world).includes(server('c1')));
    expect(serversOf(world)).toEqual(['y', server('c1')]);
  });

  it('The access provider names the namespace of the configuration', async () => {
    const world = await HubWorld.create({
      clusters: ['c1'],
      configuration: configuration({ namespace: 'elsewhere' }),
    });
    world.api.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } });
    world.api.put(definition);
    world.api.put(profile('profile-1', 'c1'));
    const stored = servingSecret(certificate);
    world.api.put({ ...stored, metadata: { ...stored.metadata, namespace: 'elsewhere' } });
    await start({}, world);
    await world.until(() => serversOf(world).length === 2);
    expect(serversOf(world)).toEqual(['x', server('c1', 'elsewhere')]);
  });
});
