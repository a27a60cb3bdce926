import { describe, expect, it } from 'vitest';
import { nameConflict } from '../../../src/addon/compat/name-conflict.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { hub, uid } from '../hub/hub-fixture.ts';
import { upstreamObjects } from '../hub/upstream-objects.ts';

const update = { manager: 'manager', operation: 'Update' };
/** The object as the API server returns it after `writer` has written it. */
const by = (object: KubeObject, writer: object): KubeObject => ({
  ...object,
  metadata: { ...object.metadata, managedFields: [writer] } as KubeObject['metadata'],
});
const upstream = upstreamObjects(hub, uid);
const balancer = upstream.find(({ metadata }) => metadata.name === 'proxy-agent-entrypoint')!;

describe('an object with a name of the addon', () => {
  it.each(upstream.map((object) => [object.kind, object.metadata.name, object] as const))(
    'An object with a name of the addon is taken over from Cluster Proxy: %s %s',
    (_kind, _name, object) => {
      expect(nameConflict(by(object, update))).toBeUndefined();
    },
  );

  it.each([
    ['was written by another program', by(balancer, { manager: 'kubectl', operation: 'Update' })],
    ['has only a status from Cluster Proxy', by(balancer, { ...update, subresource: 'status' })],
    [
      'leads to other pods, and was written by another program that is called manager',
      by({ ...balancer, spec: { type: 'LoadBalancer', selector: { app: 'web' } } }, update),
    ],
    [
      'is no Service, and was written by another program that is called manager',
      by(
        { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'cluster-proxy' } },
        update,
      ),
    ],
  ])('An object with a name of the addon is not changed if it %s', (_what, object) => {
    expect(nameConflict(object)).toContain('another program made it');
  });
});
