import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectGround, type Ground } from '../../testkit/ground/kubernetes/ground.ts';
import { helm } from './support/helm.ts';
import { chart, Installation, ourImage, removeEverything } from './support/installation.ts';
import { hubNamespace, release } from './support/names.ts';

/** The binding as another addon's release or clusteradm creates it. */
const binding = {
  apiVersion: 'cluster.open-cluster-management.io/v1beta2',
  kind: 'ManagedClusterSetBinding',
  metadata: { name: 'global', namespace: hubNamespace },
  spec: { clusterSet: 'global' },
};

describe.each([[[]], [['--take-ownership']]])(
  'A ManagedClusterSetBinding of another owner, with %j',
  (more) => {
    let ground: Ground;
    let installation: Installation;
    let before: string;

    const uid = async () => {
      const { metadata } = await ground.hub.get<{ metadata: { uid: string } }>(
        ...['-n', hubNamespace, 'managedclustersetbinding', 'global'],
      );
      return metadata.uid;
    };

    beforeAll(async () => {
      ground = await connectGround();
      installation = new Installation(ground);
      await removeEverything(ground);
      await ground.hub.kubectl(['create', 'namespace', hubNamespace]);
      await ground.hub.apply(binding);
      before = await uid();
    }, 300_000);
    afterAll(() => removeEverything(ground), 300_000);

    it('A ManagedClusterSetBinding of another owner does not prevent an installation', async () => {
      await helm(ground, ['install', release, chart, ...more], ourImage);
      await installation.apply();
      await installation.settle();
      expect(await uid()).toBe(before);
    });

    it('A ManagedClusterSetBinding of another owner outlives the release', async () => {
      await installation.remove();
      expect(await uid()).toBe(before);
    });
  },
);
