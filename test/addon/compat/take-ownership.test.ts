import { describe, expect, it } from 'vitest';
import { ownershipPatches } from '../../../src/addon/compat/take-ownership.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { hub, plan } from '../hub/hub-fixture.ts';

const service = (managedFields: readonly object[], name = 'proxy-entrypoint'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: hub, resourceVersion: '7', managedFields } as KubeObject['metadata'],
});
const entry = (manager: string, fieldsV1: object, more: object = {}) => ({
  manager,
  operation: 'Update',
  apiVersion: 'v1',
  fieldsType: 'FieldsV1',
  fieldsV1,
  ...more,
});
const ours = (fieldsV1: object) => ({ ...entry('culvert-addon', fieldsV1), operation: 'Apply' });
const port = (key: string) => ({
  [`k:{"port":${key},"protocol":"TCP"}`]: { '.': {}, 'f:port': {} },
});
const ports = (...keys: string[]) => ({
  'f:spec': { 'f:ports': { '.': {}, ...Object.assign({}, ...keys.map(port)) } },
});
const adopted = (...managedFields: object[]) =>
  ownershipPatches(plan().apply, [service(managedFields)]).map(
    ({ patch }) => patch.metadata['managedFields'],
  );

describe('ownershipPatches', () => {
  it('ownershipPatches take over all that Cluster Proxy wrote, except statuses', () => {
    const status = entry('manager', { 'f:status': {} }, { subresource: 'status' });
    const all = { ...ports('8090'), 'f:metadata': { 'f:labels': { 'f:a': {} } } };
    expect(adopted(entry('manager', all), status)).toEqual([[status, ours(all)]]);
  });

  it("ownershipPatches add Cluster Proxy's fields to ours", () => {
    const list = adopted(ours(ports('8091')), entry('manager', ports('8090')));
    expect(list).toEqual([[ours(ports('8091', '8090'))]]);
  });

  it('ownershipPatches take over the ports of a Service, and leave the other fields to their owner', () => {
    const rest = { 'f:metadata': { 'f:annotations': { 'f:note': {} } } };
    expect(adopted(entry('kubectl-edit', { ...ports('9999'), ...rest }))).toEqual([
      [entry('kubectl-edit', rest), ours(ports('9999'))],
    ]);
  });

  it('ownershipPatches take over the pods of a Deployment, but not its annotations or its scale', () => {
    const deployment: KubeObject = {
      ...service([]),
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { ...service([]).metadata, name: 'cluster-proxy' },
    };
    const annotations = { 'f:annotations': { 'f:kubectl.kubernetes.io/restartedAt': {} } };
    const template = (fields: object) => ({ 'f:spec': { 'f:template': fields } });
    const env = { 'f:spec': { 'f:containers': { 'k:{"name":"proxy-server"}': { 'f:env': {} } } } };
    const written = entry('kubectl-set', template({ ...env, 'f:metadata': annotations }));
    const scaled = entry('autoscaler', { 'f:spec': { 'f:replicas': {} } });
    const managedFields = [written, scaled];
    const metadata = { ...deployment.metadata, managedFields };
    const [adoption] = ownershipPatches(plan().apply, [{ ...deployment, metadata }]);
    expect(adoption?.patch.metadata['managedFields']).toEqual([
      entry('kubectl-set', template({ 'f:metadata': annotations })),
      scaled,
      { ...ours(template(env)), apiVersion: 'apps/v1' },
    ]);
  });

  it.each([
    ['no other program wrote', ours(ports('8091'))],
    ['another program annotated', entry('kubectl', { 'f:metadata': {} })],
    ['a controller wrote the status', entry('cloud', ports('1'), { subresource: 'status' })],
    ['another program applied', entry('helm', ports('1'), { operation: 'Apply' })],
  ])('ownershipPatches are empty if %s', (_what, managed) => {
    expect(adopted(managed)).toEqual([]);
  });

  it('ownershipPatches concern only the planned objects, in the version that was read', () => {
    const list = ownershipPatches(plan().apply, [
      service([entry('manager', ports('1'))], 'somebody-elses'),
      service([entry('manager', ports('1'))]),
    ]);
    expect(list).toMatchObject([
      {
        ref: { apiVersion: 'v1', kind: 'Service', namespace: hub, name: 'proxy-entrypoint' },
        patch: { metadata: { resourceVersion: '7' } },
      },
    ]);
  });
});
