import { describe, expect, it } from 'vitest';
import { fields } from '../../../src/addon/api/fields.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { hub, HubWorld, isWrite } from './hub-world.ts';

const clusters = ['cluster1', '2nd-cluster'];
const kinds: readonly (readonly [kind: string, name: string, namespace?: string])[] = [
  ['Deployment', 'cluster-proxy', hub],
  ['PodDisruptionBudget', 'cluster-proxy', hub],
  ['Ingress', 'cluster-proxy', hub],
  ['Service', 'proxy-entrypoint', hub],
  ['Role', 'cluster-proxy-addon-agent:portforward', hub],
  ['Secret', 'cluster-proxy-signer', hub],
  ['Secret', 'cluster-proxy-agent-signer', hub],
  ['Secret', 'cluster-proxy-replica-key', hub],
  ['Secret', 'proxy-server-ca', hub],
  ['Secret', 'agent-ca', hub],
  ['Secret', 'proxy-server', hub],
  ['Secret', 'agent-server', hub],
  ['Secret', 'proxy-client', hub],
  ['ManagedProxyConfiguration', 'cluster-proxy'],
  ...clusters.flatMap((cluster) => [
    ['ManagedClusterAddOn', 'cluster-proxy', cluster] as const,
    ['ManifestWork', 'addon-cluster-proxy-deploy-0', cluster] as const,
    ['Role', 'cluster-proxy-addon-agent', cluster] as const,
    ['RoleBinding', 'cluster-proxy-addon-agent', cluster] as const,
    ['RoleBinding', `cluster-proxy-addon-agent:portforward:${cluster}`, hub] as const,
  ]),
];

/** The objects of the hub, without random values and times. */
function outcome(world: HubWorld): unknown {
  return kinds.map(([kind, name, namespace]) => {
    const object = world.find(kind, name, namespace);
    return [kind, name, object === undefined ? 'not there' : withoutChance(object)];
  });
}

function withoutChance({ kind, metadata, spec, status, data, ...rest }: KubeObject): unknown {
  const { name, labels, annotations, ownerReferences = [] } = metadata;
  const owners = ownerReferences.map(({ kind, name }) => ({ kind, name }));
  const text = JSON.stringify({ spec, status, rest: { ...rest, annotations } })
    // Certificates, hashes, uids and times.
    .replaceAll(/"[A-Za-z0-9+/=]{200,}"/g, '"base64"')
    .replaceAll(/[0-9a-f]{48,64}/g, 'hash')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'uid')
    .replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?/g, 'time')
    .replaceAll(/uid-\d+|"(uid|resourceVersion)":"[^"]*"/g, 'uid');
  return {
    kind,
    name,
    labels,
    owners,
    keys: Object.keys(fields(data)).toSorted(),
    ...JSON.parse(text),
  };
}

async function converged(world: HubWorld): Promise<unknown> {
  const addon = await world.start();
  await world.until(() => clusters.every((cluster) => world.work(cluster) !== undefined));
  await world.settle();
  expect(addon.unready).toBeUndefined();
  await world.stop(addon);
  return outcome(world);
}

const noChange = () => Promise.resolve();

/** Changes the entrypoint, which changes names in certificates, objects and rights. */
async function changeEntrypoint(world: HubWorld): Promise<void> {
  await converged(world);
  const entrypoint = { type: 'Ingress', ingress: { host: 'hub.example' } };
  const patch = { spec: { proxyServer: { entrypoint, replicas: 1 } } };
  const ref = world.ref('ManagedProxyConfiguration', 'cluster-proxy');
  await world.api.as('person').patch(ref, patch, { signal: new AbortController().signal });
}

describe('an addon manager that is killed', () => {
  it.each([
    ['while it installs', noChange, 25],
    ['while the entrypoint changes', changeEntrypoint, 10],
  ] as const)(
    'An addon manager that is killed %s, between any two writes, reaches the same end after a restart',
    async (_, prepare, atLeast) => {
      const world = async () => {
        const made = await HubWorld.create({ clusters });
        await prepare(made);
        return { made, before: made.writes };
      };
      const { made: whole, before } = await world();
      const expected = await converged(whole);
      const writes = whole.writes - before;
      expect(writes).toBeGreaterThan(atLeast);
      for (let kept = 0; kept < writes; kept++) {
        const { made } = await world();
        let done = 0;
        let isDead = false;
        // After its death, no request of the manager arrives.
        made.intercept = (call) => {
          isDead ||= isWrite(call) && done++ === kept;
          return isDead ? new Error('killed') : undefined;
        };
        const killed = await made.start();
        await made.until(() => isDead);
        await made.stop(killed);
        made.intercept = () => undefined;
        expect(await converged(made), `after ${kept} writes`).toEqual(expected);
      }
    },
    120_000,
  );
});
