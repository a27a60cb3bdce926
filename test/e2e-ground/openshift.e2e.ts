import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import {
  namespaceUser,
  openShiftAdmission,
  openShiftAdmissionNames,
} from '../../testkit/ground/kubernetes/openshift-admission.ts';
import { HubClient } from './support/client.ts';
import { Installation, removeEverything } from './support/installation.ts';
import { hubNamespace, installNamespace, testNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';

const namespaces = [hubNamespace, installNamespace];

describe("Clusters that admit pods as OpenShift's restricted-v2 does", () => {
  let ground: Ground;
  let installation: Installation;
  let client: HubClient;
  let places: readonly { readonly cluster: GroundCluster; readonly namespace: string }[];

  /** Whether admission gives pods a user of the namespace and refuses pods that name a user. */
  const isInForce = async (cluster: GroundCluster, namespace: string) => {
    const pod = (securityContext: object) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'probe', namespace },
      spec: {
        securityContext,
        containers: [
          {
            name: 'probe',
            image: 'probe',
            securityContext: { capabilities: { drop: ['ALL'] } },
          },
        ],
      },
    });
    const args = ['create', '--dry-run=server', '-o', 'json', '-f', '-'];
    const text = await cluster.kubectl(args, { input: JSON.stringify(pod({})) });
    const refused = cluster
      .kubectl(args, { input: JSON.stringify(pod({ runAsUser: 65_532 })) })
      .then(() => false)
      .catch((error: unknown) => String(error).includes('runAsUser must be in the range'));
    return text.includes(`"runAsUser": ${namespaceUser}`) && (await refused);
  };

  beforeAll(async () => {
    ground = await connectGround();
    installation = new Installation(ground);
    await removeEverything(ground);
    places = [
      { cluster: ground.hub, namespace: hubNamespace },
      ...ground.managed.map((cluster) => ({ cluster, namespace: installNamespace })),
    ];
    for (const { cluster, namespace } of places) {
      await cluster.kubectl(['create', 'namespace', namespace]);
      await cluster.apply(openShiftAdmission(namespaces));
      await eventually(ground, () => isInForce(cluster, namespace), {
        what: `admission of OpenShift in ${cluster.name}`,
        timeoutMs: 60_000,
      });
    }
    await installation.apply();
    await installation.settle();
    client = await HubClient.open(ground.hub);
  }, 300_000);
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    for (const { cluster } of places) {
      await cluster.kubectl(['delete', '--ignore-not-found', ...openShiftAdmissionNames]);
    }
    await removeEverything(ground);
  }, 300_000);

  it('Clusters with restricted-v2 run every pod as a user of the namespace', async () => {
    const names = new Set<string>();
    for (const { cluster, namespace } of places) {
      const { items } = await cluster.get<{ items: readonly Pod[] }>('-n', namespace, 'pods');
      expect(items.length).toBeGreaterThan(0);
      for (const { metadata, spec, status } of items) {
        const containers = spec.containers.map(({ name, securityContext }) => {
          names.add(name);
          return securityContext?.runAsUser;
        });
        expect(containers, `of ${metadata.name}`).toEqual([namespaceUser]);
        const [container] = status.containerStatuses ?? [];
        expect(container, `of ${metadata.name}`).toMatchObject({ ready: true, restartCount: 0 });
      }
    }
    expect([...names].sort()).toEqual(['manager', 'proxy-agent', 'proxy-server', 'redis']);
  });

  it('The processes under restricted-v2 have the user of the namespace and the group of root', async () => {
    const script = `for pid in $(pgrep -f '^/usr/local/bin/node /culvert/culvert.mjs'); do
  grep -E '^(Uid|Gid):' /proc/$pid/status | tr '\\n' ' '; echo; done`;
    for (const { cluster } of places) {
      const lines = (await cluster.run('bash', ['-c', script])).trim().split('\n');
      for (const line of lines) {
        const ids = line.split(/\s+/);
        expect(ids.slice(1, 3)).toEqual([String(namespaceUser), String(namespaceUser)]);
        expect(ids.slice(6, 8)).toEqual(['0', '0']);
      }
    }
  });

  it('Clusters with restricted-v2 serve clients', async () => {
    for (const cluster of ground.managed) {
      const result = await client.run('pods', cluster, [`--namespace=${testNamespace}`]);
      expect(result).toMatchObject({ ok: true, pods: ['target'], nodes: [cluster.name] });
    }
  });
});

interface Pod {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly containers: readonly {
      readonly name: string;
      readonly securityContext?: { readonly runAsUser?: number };
    }[];
  };
  readonly status: { readonly containerStatuses?: readonly object[] };
}
