import { rm } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { writeEarlierChart } from './earlier-chart.ts';
import { chartDirectory, Helm } from '../../testkit/kube/helm.ts';

const programs = await findPrograms(apiServerPrograms);
const chart = chartDirectory('cluster-proxy');
const ns = 'hub-ns';
const binding = {
  apiVersion: 'cluster.open-cluster-management.io/v1beta2',
  kind: 'ManagedClusterSetBinding',
  metadata: { name: 'global', namespace: ns },
  spec: { clusterSet: 'global' },
};

describeWith({ programs }, 'The ManagedClusterSetBinding of the chart', ({ programs }) => {
  const helm = new Helm(programs.helm);
  let server: RunningApiServer;
  let addOnBefore: string;

  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    addOnBefore = await writeEarlierChart(ns);
    await server.kubectl(['create', 'namespace', ns]);
    await server.kubectl(['apply', '--server-side', '-f', `${chart}/crds`]);
    await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  }, 60_000);
  afterEach(async () => {
    for (const release of ['ours', 'theirs']) {
      await onHub(['uninstall', release, '--ignore-not-found']);
    }
    await server.kubectl(['-n', ns, 'delete', 'managedclustersetbinding', '--all']);
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    if (addOnBefore !== undefined) await rm(addOnBefore, { recursive: true });
  });

  const onHub = (args: readonly string[]) =>
    helm.run([...args, '--namespace', ns], {}, { kubeconfig: server.kubeconfigFile });
  const found = () =>
    server.get<{ metadata: { uid: string; annotations?: Record<string, string> } }>(
      ...['-n', ns, 'managedclustersetbinding', 'global'],
    );
  const owner = async () => (await found()).metadata.annotations?.['meta.helm.sh/release-name'];
  const uid = async () => (await found()).metadata.uid;

  it.each([[[]], [['--take-ownership']]])(
    'A ManagedClusterSetBinding that a person or clusteradm made is not taken over, also with %j',
    async (more) => {
      await server.kubectl(['create', '-f', '-'], { input: JSON.stringify(binding) });
      const before = await uid();
      await onHub(['install', 'ours', chart, ...more]);
      await onHub(['upgrade', 'ours', chart, ...more]);
      expect(await owner()).toBeUndefined();
      await onHub(['uninstall', 'ours']);
      expect(await uid()).toBe(before);
    },
  );

  it.each([[[]], [['--take-ownership']]])(
    'A ManagedClusterSetBinding of another release is not taken over, also with %j',
    async (more) => {
      const annotations = {
        'meta.helm.sh/release-name': 'theirs',
        'meta.helm.sh/release-namespace': ns,
      };
      const labels = { 'app.kubernetes.io/managed-by': 'Helm' };
      const theirs = { ...binding, metadata: { ...binding.metadata, annotations, labels } };
      await server.kubectl(['create', '-f', '-'], { input: JSON.stringify(theirs) });
      const before = await uid();
      await onHub(['install', 'ours', chart, ...more]);
      expect(await owner()).toBe('theirs');
      await onHub(['uninstall', 'ours']);
      expect(await uid()).toBe(before);
    },
  );

  it('A ManagedClusterSetBinding of our release survives an uninstall, and belongs to a new installation again', async () => {
    await onHub(['install', 'ours', chart]);
    const before = await uid();
    expect(await owner()).toBe('ours');
    await onHub(['uninstall', 'ours']);
    expect(await uid()).toBe(before);
    await onHub(['install', 'ours', chart]);
    expect(await owner()).toBe('ours');
    await onHub(['upgrade', 'ours', chart]);
    expect(await uid()).toBe(before);
  });

  it('A ManagedClusterSetBinding from an earlier chart survives an upgrade and a later uninstall', async () => {
    await onHub(['install', 'ours', addOnBefore]);
    const before = await uid();
    await onHub(['upgrade', 'ours', chart]);
    await onHub(['uninstall', 'ours']);
    expect(await uid()).toBe(before);
  });
});
