import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningAddon, startAddon } from '../../../src/addon/addon.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { eventually, hubNs, RealHub } from '../../../testkit/world/real-hub.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { MemoryLog } from '../controllers/memory-log.ts';

const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'ClusterProfiles of a real hub with their real CRD', ({ programs }) => {
  const log = new MemoryLog();
  let hub: RealHub;
  let addon: RunningAddon;

  beforeAll(async () => {
    hub = await RealHub.start(programs, {
      enableServiceProxy: true,
      featureGates: { clusterProfile: true },
    });
    await hub.addCluster('cluster1');
    await hub.server.apply({
      apiVersion: 'multicluster.x-k8s.io/v1alpha1',
      kind: 'ClusterProfile',
      metadata: {
        name: 'profile-1',
        namespace: 'default',
        labels: {
          'x-k8s.io/cluster-manager': 'open-cluster-management',
          'open-cluster-management.io/cluster-name': 'cluster1',
        },
      },
      spec: { clusterManager: { name: 'open-cluster-management' } },
    });
    const other = { name: 'other', cluster: { server: 'https://other.example.com' } };
    const patch = JSON.stringify({ status: { accessProviders: [other] } });
    await hub.server.kubectl([
      ...['patch', 'clusterprofile', 'profile-1', '--subresource=status', '--type=merge'],
      ...['-p', patch],
    ]);
    addon = await startAddon(hub.options, { log });
  }, 120_000);
  afterAll(async () => {
    await addon?.close();
    await hub?.[Symbol.asyncDispose]();
  });

  const providers = async () => {
    const profile = await hub.server.get<KubeObject>('clusterprofile', 'profile-1');
    return items(fields(profile['status'])['accessProviders']);
  };
  const untilProviders = (names: readonly string[]) =>
    eventually(async () => {
      const found = await providers();
      expect(found.map(({ name }) => name)).toEqual(names);
      return found;
    });
  const writeCertificate = async (name: string) => {
    await using certificates = await makeTestCertificates();
    const { cert, key } = await certificates.serverAuthority.issue({ name, usage: 'server' });
    const secret = await hub.server.kubectl([
      ...['create', 'secret', 'tls', 'cluster-proxy-user-serving-cert', '-n', hubNs],
      ...[`--cert=${cert}`, `--key=${key}`, '--dry-run=client', '-o', 'yaml'],
    ]);
    await hub.server.apply(secret);
  };

  it('A ClusterProfile follows the certificate and the addon, with the rights that the chart gives', async () => {
    await writeCertificate('first');
    const [, first] = await untilProviders(['other', 'open-cluster-management']);
    expect(fields(first?.['cluster'])).toMatchObject({
      server: `https://cluster-proxy-addon-user.${hubNs}:9092/cluster1`,
      extensions: [
        { name: 'client.authentication.k8s.io/exec', extension: { clusterName: 'cluster1' } },
      ],
    });
    await writeCertificate('second');
    await eventually(async () => {
      const [, second] = await providers();
      expect(second).not.toEqual(first);
      return second;
    });
    const addOn = ['managedclusteraddon', 'cluster-proxy', '-n', 'cluster1', '--wait=false'];
    await hub.server.kubectl(['delete', ...addOn]);
    await untilProviders(['other']);
    expect(log.warnings.filter((line) => line.includes('cluster-profile'))).toEqual([]);
  }, 120_000);
});
