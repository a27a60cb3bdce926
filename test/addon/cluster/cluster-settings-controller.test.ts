import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type ClusterGroup, parseClusterSettings } from '../../../src/access/cluster-settings.ts';
import { fields, text } from '../../../src/addon/api/fields.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { condition } from '../api/ocm-objects.ts';
import { addOn, hub, HubWorld } from '../controllers/hub-world.ts';

const group = 'addon.open-cluster-management.io';
const name = 'cluster-proxy-cluster-settings';
const { signal } = new AbortController();

let ca: string;
let otherCa: string;
beforeAll(async () => {
  await using certificates = await makeTestCertificates();
  ca = await readFile(certificates.serverAuthority.caFile, 'utf8');
  otherCa = await readFile(certificates.stranger.ca, 'utf8');
});

const configOf = (variables: Readonly<Record<string, string>>) => ({
  apiVersion: `${group}/v1alpha1`,
  kind: 'AddOnDeploymentConfig',
  metadata: { name: 'own', namespace: 'c1' },
  spec: {
    customizedVariables: Object.entries(variables).map(([name, value]) => ({ name, value })),
  },
});
const configMap = (map: string, pem: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: map, namespace: hub },
  data: { 'ca.crt': pem },
});
const referent = { namespace: 'c1', name: 'own' };
const configured = addOn('c1', {
  conditions: [condition('Configured', 'True')],
  configReferences: [
    { group, resource: 'addondeploymentconfigs', ...referent, desiredConfig: referent },
  ],
});
const issuer = { oidcIssuerURL: 'https://i', oidcClientID: 'c', oidcCAConfigMap: 'issuer-ca' };

/** A hub with the clusters c1, which has a configuration, and c2. */
async function hubWith(variables: Readonly<Record<string, string>>, options: object = {}) {
  const world = await HubWorld.create({ clusters: ['c1', 'c2'] });
  world.api.put(configured);
  world.api.put(configOf(variables));
  await world.start({ enableServiceProxy: true, ...options });
  await world.until(() => written(world) !== undefined);
  return world;
}
function written(world: HubWorld): readonly ClusterGroup[] | undefined {
  const object = world.find('ConfigMap', name, hub);
  return object && parseClusterSettings(text(fields(object['data'])['settings.json']));
}
const issuerIn = (world: HubWorld) => {
  const oidc = written(world)?.find(({ clusters }) => clusters.includes('c1'))?.oidc;
  return typeof oidc === 'object' ? oidc : undefined;
};

describe('the controller of cluster settings', () => {
  it('Clusters without settings of their own are in no group', async () => {
    expect(written(await hubWith({}))).toEqual([]);
  });

  it('The settings follow the variables and the option of the manager', async () => {
    const world = await hubWith({ enableImpersonation: 'true' }, { enableImpersonation: false });
    const off = (...clusters: string[]) => [{ clusters, hubTokens: false, oidc: undefined }];
    expect(written(world)).toEqual(off('c2'));
    world.api.put(configOf({}));
    await world.until(() => written(world)?.[0]?.clusters.length === 2);
    expect(written(world)).toEqual(off('c1', 'c2'));
  });

  it('The CA of an issuer may come later, may change and may go', async () => {
    const world = await hubWith(issuer);
    expect(issuerIn(world)).toMatchObject({
      options: { issuerUrl: 'https://i', clientId: 'c' },
      caProblem: `ConfigMap ${hub}/issuer-ca does not exist`,
    });
    world.api.put(configMap('issuer-ca', ca));
    await world.until(() => issuerIn(world)?.caProblem === undefined);
    expect(issuerIn(world)?.ca?.trim()).toBe(ca.trim());
    world.api.put(configMap('issuer-ca', otherCa));
    await world.until(() => issuerIn(world)?.ca?.trim() === otherCa.trim());
    world.api.put(configMap('issuer-ca', 'nonsense'));
    await world.until(() => issuerIn(world)?.caProblem !== undefined);
    expect(issuerIn(world)?.ca).toBeUndefined();
    world.api.put(configOf({}));
    await world.until(() => written(world)?.length === 0);
  });

  it('A cluster whose variables have problems has no issuer, and its addon says why', async () => {
    const world = await hubWith({ oidcIssuerURL: 'https://i' });
    await world.until(() => written(world)?.length === 1);
    expect(written(world)).toEqual([{ clusters: ['c1'], hubTokens: true, oidc: 'off' }]);
    await world.until(() => world.condition(world.addOn('c1'), 'ManifestApplied') !== undefined);
    expect(world.condition(world.addOn('c1'), 'ManifestApplied')).toMatchObject({
      status: 'False',
      message: expect.stringContaining('oidcIssuerURL and oidcClientID must be specified together'),
    });
  });

  it('The settings are written again when somebody deletes them', async () => {
    const world = await hubWith({});
    await world.settle();
    await world.api.delete(world.ref('ConfigMap', name, hub), { signal });
    await world.until(() => written(world) !== undefined);
    expect(written(world)).toEqual([]);
  });
});
