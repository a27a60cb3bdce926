import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '../../testkit/ground/kubernetes/wait.ts';
import { ArgoCd } from './support/argo-cd.ts';
import { type ClusterName, domain, Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const programs = await planePrograms();
const downMs = 1000;
const timeoutMs = 60_000;

describe('Argo CD, whose clusters are URLs of the gateway', () => {
  let plane: Plane;
  let argoCd: ArgoCd;

  beforeAll(async () => {
    plane = await Plane.start(programs, { gatewayApart: true });
    const { hub, directory } = plane;
    const hosts = [`cluster2.${domain}`];
    argoCd = await ArgoCd.start(programs, { hub, directory, hosts, gatewayPort: portOf(plane) });
  });
  afterAll(async () => {
    await argoCd?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
  });

  it.each([
    { form: 'path', cluster: 'cluster1' },
    { form: 'host', cluster: 'cluster2' },
  ] as const)('Argo CD keeps a cluster equal to Git ($form form)', async ({ form, cluster }) => {
    const application = `app-of-${cluster}`;
    const { server } = plane.api(cluster);
    const read = async (...args: string[]): Promise<string> => {
      const found = await server.kubectl(['-n', 'shop', 'get', '--ignore-not-found', ...args]);
      return found.trim();
    };
    const stock = () => read('configmap', 'stock', '-o', 'jsonpath={.data.apples}');
    const change = (apples: string) =>
      server.kubectl([
        ...['-n', 'shop', 'patch', 'configmap', 'stock', '--type=merge'],
        ...['-p', JSON.stringify({ data: { apples } })],
      ]);
    const until = (what: string, isTrue: () => Promise<boolean>) =>
      waitFor(isTrue, { what: `${what} (${cluster})`, timeoutMs });

    await argoCd.commit(application, manifests);
    await argoCd.addCluster({
      name: cluster,
      server: form === 'path' ? plane.urlOf(cluster) : hostUrl(plane, cluster),
      token: await plane.adminToken(cluster),
      caFile: plane.caFile,
    });
    await argoCd.addApplication(application, cluster);
    await untilSynced(argoCd, application);
    expect(await stock()).toBe('3');
    expect(await read('baskets.shop.culvert.test', '-o', 'name')).toContain('/fruit');

    // Argo CD learns of this change from its watch alone.
    await change('4');
    await until('healed change', async () => (await stock()) === '3');

    const { service: _, ...others } = manifests;
    await argoCd.commit(application, others);
    await argoCd.refresh(application);
    await until('pruned Service', async () => (await read('service', '-o', 'name')) === '');

    // The watches continue through the broker that is started again, and miss nothing.
    const killed = plane.killBroker(downMs);
    await change('5');
    await killed;
    await until('healed change', async () => (await stock()) === '3');
    await untilSynced(argoCd, application);

    await argoCd.deleteApplication(application);
    expect(await stock()).toBe('');
  });
});

function hostUrl(plane: Plane, cluster: ClusterName): string {
  return `https://${cluster}.${domain}:${portOf(plane)}`;
}

function portOf(plane: Plane): number {
  return Number(plane.gatewayAddress.split(':')[1]);
}

async function untilSynced(argoCd: ArgoCd, application: string): Promise<void> {
  let last: object = {};
  try {
    await waitFor(
      async () => {
        const status = await argoCd.status(application);
        last = status;
        return status.sync?.status === 'Synced' && status.health?.status === 'Healthy';
      },
      { what: `application ${application} in sync`, timeoutMs },
    );
  } catch (cause) {
    throw new Error(`${JSON.stringify(last)}\n${argoCd.controller.output.slice(-4000)}`, { cause });
  }
}

const inShop = (name: string) => ({ name, namespace: 'shop' });
const manifests = {
  namespace: {
    apiVersion: 'v1',
    kind: 'Namespace',
    // The clusters have no controller that ends a namespace.
    metadata: { name: 'shop', annotations: { 'argocd.argoproj.io/sync-options': 'Delete=false' } },
  },
  stock: {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: inShop('stock'),
    data: { apples: '3' },
  },
  service: {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: inShop('till'),
    spec: { ports: [{ port: 80 }] },
  },
  definition: {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'baskets.shop.culvert.test' },
    spec: {
      group: 'shop.culvert.test',
      scope: 'Namespaced',
      names: { kind: 'Basket', plural: 'baskets', singular: 'basket' },
      versions: [
        {
          ...{ name: 'v1', served: true, storage: true },
          schema: {
            openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      ],
    },
  },
  basket: {
    apiVersion: 'shop.culvert.test/v1',
    kind: 'Basket',
    metadata: inShop('fruit'),
    spec: { size: 2 },
  },
};
