import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { Installation } from './support/installation.ts';
import { addon, hubNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';

const taints = ['unreachable', 'unavailable'].map(
  (name) => `cluster.open-cluster-management.io/${name}`,
);
/** The hub taints a cluster whose lease is five times as old. */
const leaseDurationSeconds = 5;
/** Selects what the Placement of the chart selects, and tolerates nothing. */
const intolerant = {
  apiVersion: 'cluster.open-cluster-management.io/v1beta1',
  kind: 'Placement',
  metadata: { name: 'intolerant', namespace: hubNamespace },
  spec: { clusterSets: ['global'] },
};

describe('A cluster whose registration agent is gone while its tunnels are healthy', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let silent: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let load: RunningLoad;
  let addOnBefore: string;

  const selectedBy = async (placement: string) => {
    const label = `cluster.open-cluster-management.io/placement=${placement}`;
    const where = ['-n', hubNamespace, 'placementdecisions', '-l', label] as const;
    const { items } = await hub.get<{ items: readonly Decision[] }>(...where);
    return items.flatMap(({ status }) => (status?.decisions ?? []).map((one) => one.clusterName));
  };
  const taintsOf = async () => {
    const { spec } = await hub.get<{ spec: { taints?: readonly { key: string }[] } }>(
      ...['managedcluster', silent.name],
    );
    return (spec.taints ?? []).map(({ key }) => key).filter((key) => taints.includes(key));
  };
  const addOnUid = async () => {
    const { metadata } = await hub.get<{ metadata: { uid: string } }>(
      ...['-n', silent.name, 'managedclusteraddon', addon],
    );
    return metadata.uid;
  };
  const setLease = (seconds: number) => {
    const patch = JSON.stringify({ spec: { leaseDurationSeconds: seconds } });
    return hub.kubectl(['patch', 'managedcluster', silent.name, '--type=merge', '-p', patch]);
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    silent = ground.managed[0]!;
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    await installation.agentRolledOut(silent);
    client = await HubClient.open(hub);
    await hub.apply(intolerant);
    await setLease(leaseDurationSeconds);
    await eventually(ground, async () => (await selectedBy('intolerant')).includes(silent.name), {
      what: `${silent.name} among what a Placement without tolerations selects`,
      timeoutMs: 60_000,
    });
    addOnBefore = await addOnUid();
    load = client.load(silent);
  }, 300_000);
  afterAll(async () => {
    await load?.stop();
    await client?.[Symbol.asyncDispose]();
    await silent.startAgain('ocm-registration').catch(() => {});
    await setLease(60);
    await hub.kubectl(['-n', hubNamespace, 'delete', 'placement', 'intolerant']);
    await eventually(ground, async () => (await taintsOf()).length === 0, {
      what: `${silent.name} without taints`,
      timeoutMs: 120_000,
    });
  });

  it('A cluster without its registration agent is tainted by the hub, which removes it from Placements without tolerations', async () => {
    await silent.kill('ocm-registration');
    await eventually(ground, async () => (await taintsOf()).length > 0, {
      what: `taint of ${silent.name}`,
      timeoutMs: 150_000,
    });
    await eventually(ground, async () => !(await selectedBy('intolerant')).includes(silent.name), {
      what: `${silent.name} taken from a Placement without tolerations`,
      timeoutMs: 60_000,
    });
    expect(await selectedBy('cluster-proxy-placement')).toContain(silent.name);
  });

  it('A cluster without its registration agent keeps its addon and loses no request', async () => {
    const { requests } = load.counts;
    await eventually(ground, async () => load.counts.requests > requests + 100, {
      what: `100 requests to ${silent.name}`,
      timeoutMs: 120_000,
    });
    expect(await selectedBy('cluster-proxy-placement')).toContain(silent.name);
    expect(await addOnUid()).toBe(addOnBefore);
    const { failed, errors } = await load.stop();
    expect({ failed, errors: errors ?? [] }).toEqual({ failed: 0, errors: [] });
  });
});

interface Decision {
  readonly status?: { readonly decisions?: readonly { readonly clusterName: string }[] };
}
