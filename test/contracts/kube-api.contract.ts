import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeApi, KubeRef, WatchEvent } from '../../src/kube/client/kube-api.ts';
import { isKubeError, type KubeErrorCode } from '../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { find, listAll, refOf } from '../../src/kube/client/kube-ref.ts';

/** Two field managers on one API server, which others may use too. */
export interface KubeApiPair {
  readonly api: KubeApi;
  readonly other: KubeApi;
  /** Makes it forget what happened, as a server does in time. */
  forget(this: void): Promise<void>;
}

const signal = new AbortController().signal;
const forced = { signal, force: true };
const unforced = { signal, force: false };

function configMap(namespace: string, name: string, data: Record<string, string>): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name }, data };
}

async function codeOf(call: Promise<unknown>): Promise<KubeErrorCode | 'no error'> {
  try {
    await call;
    return 'no error';
  } catch (thrown) {
    if (isKubeError(thrown)) return (thrown as { code: KubeErrorCode }).code;
    throw thrown;
  }
}

/** What every KubeApi does. `make` is called once; the suite works in namespaces of its own. */
export function describeKubeApi(name: string, make: () => Promise<KubeApiPair>): void {
  describe(`kube API: ${name}`, () => {
    let api: KubeApi;
    let other: KubeApi;
    let forget: () => Promise<void>;
    let spaces = 0;

    beforeAll(async () => {
      ({ api, other, forget } = await make());
    }, 60_000);
    afterAll(() => {
      api?.close();
      other?.close();
    });

    /** A namespace that no other test uses. */
    const newSpace = async () => {
      const space = `contract-${++spaces}`;
      await api.create(
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: space } },
        { signal },
      );
      return space;
    };
    const mapRef = (namespace: string, name: string): KubeRef => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      namespace,
      name,
    });

    describe('Reading and creating', () => {
      it('The Kubernetes API gets what was created, as the server completed it', async () => {
        const space = await newSpace();
        const created = await api.create(configMap(space, 'a', { x: '1' }), { signal });
        const got = await api.get(mapRef(space, 'a'), { signal });
        expect(got).toEqual(created);
        expect(got).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap', data: { x: '1' } });
        expect(got.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
        expect(got.metadata.resourceVersion).toBeTruthy();
      });

      it('The Kubernetes API reports not_found for a missing object, with its name', async () => {
        const space = await newSpace();
        const missing = api.get(mapRef(space, 'a'), { signal });
        await expect(missing).rejects.toMatchObject({
          code: 'not_found',
          message: expect.stringContaining(`get ConfigMap ${space}/a`),
        });
        expect(await find(api, mapRef(space, 'a'), { signal })).toBeUndefined();
      });

      it('The Kubernetes API reports already_exists for a name in use', async () => {
        const space = await newSpace();
        await api.create(configMap(space, 'a', {}), { signal });
        expect(await codeOf(api.create(configMap(space, 'a', {}), { signal }))).toBe(
          'already_exists',
        );
      });

      it('The Kubernetes API reports not_found for a missing namespace', async () => {
        const call = api.create(configMap('nowhere', 'a', {}), { signal });
        await expect(call).rejects.toMatchObject({
          code: 'not_found',
          message: expect.stringContaining('namespaces "nowhere" not found'),
        });
      });

      it('The Kubernetes API generates a name from generateName', async () => {
        const space = await newSpace();
        const metadata = { namespace: space, generateName: 'some-' };
        const created = await api.create(
          { apiVersion: 'v1', kind: 'ConfigMap', metadata },
          { signal },
        );
        expect(created.metadata.name).toMatch(/^some-.+/);
      });

      it.each<[string, KubeObject]>([
        ['a name that is none', configMap('default', 'Not_A_Name', {})],
        ['a namespace where there is none', { ...configMap('x', 'a', {}), kind: 'Namespace' }],
        [
          'no namespace where one is needed',
          { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } },
        ],
      ])('The Kubernetes API reports invalid for %s', async (_, object) => {
        expect(await codeOf(api.apply(object, forced))).toBe('invalid');
      });

      it('The Kubernetes API stores nothing in a dry run', async () => {
        const space = await newSpace();
        const dry = { ...forced, dryRun: true };
        expect(await api.apply(configMap(space, 'a', { x: '1' }), dry)).toMatchObject({
          data: { x: '1' },
        });
        await api.create(configMap(space, 'b', {}), dry);
        expect(await codeOf(api.get(mapRef(space, 'a'), { signal }))).toBe('not_found');
        expect(await codeOf(api.get(mapRef(space, 'b'), { signal }))).toBe('not_found');
      });

      it('The Kubernetes API rejects with the reason of a signal that has aborted', async () => {
        const reason = new Error('enough');
        const call = api.get(mapRef('default', 'a'), { signal: AbortSignal.abort(reason) });
        await expect(call).rejects.toBe(reason);
      });
    });

    describe('Apply', () => {
      it('The Kubernetes API creates, changes, and leaves unchanged objects alone', async () => {
        const space = await newSpace();
        const first = await api.apply(configMap(space, 'a', { x: '1' }), forced);
        const same = await api.apply(configMap(space, 'a', { x: '1' }), forced);
        expect(same.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
        const changed = await api.apply(configMap(space, 'a', { x: '2' }), forced);
        expect(changed['data']).toEqual({ x: '2' });
        expect(changed.metadata.uid).toBe(first.metadata.uid);
      });

      it('The Kubernetes API removes fields that it applied before and no longer names, and no fields of others', async () => {
        const space = await newSpace();
        await api.apply(configMap(space, 'a', { mine: '1', shared: '1' }), forced);
        await other.apply(configMap(space, 'a', { theirs: '1', shared: '1' }), unforced);
        const left = await api.apply(configMap(space, 'a', { new: '1' }), forced);
        expect(left['data']).toEqual({ new: '1', theirs: '1', shared: '1' });
      });

      it('The Kubernetes API keeps labels of others', async () => {
        const space = await newSpace();
        const map = configMap(space, 'a', {});
        const labelled = (labels: Record<string, string>) => ({
          ...map,
          metadata: { ...map.metadata, labels },
        });
        await other.apply(labelled({ theirs: 'x' }), forced);
        const both = await api.apply(labelled({ mine: 'y' }), forced);
        expect(both.metadata.labels).toEqual({ theirs: 'x', mine: 'y' });
      });

      it('The Kubernetes API reports a conflict, with the manager and the field, unless it is forced', async () => {
        const space = await newSpace();
        await other.apply(configMap(space, 'a', { x: '1' }), forced);
        const disputed = configMap(space, 'a', { x: '2' });
        await expect(api.apply(disputed, unforced)).rejects.toMatchObject({
          code: 'conflict',
          message: expect.stringMatching(/other.*\.data\.x/s),
        });
        expect(await api.apply(disputed, forced)).toMatchObject({ data: { x: '2' } });
      });

      it('The Kubernetes API writes to no other version than the given one', async () => {
        const space = await newSpace();
        const first = await api.apply(configMap(space, 'a', { x: '1' }), forced);
        await api.apply(configMap(space, 'a', { x: '2' }), forced);
        const { resourceVersion } = first.metadata;
        const map = configMap(space, 'a', { x: '3' });
        const old = { ...map, metadata: { ...map.metadata, resourceVersion: resourceVersion! } };
        expect(await codeOf(api.apply(old, forced))).toBe('conflict');
      });

      it('The Kubernetes API does not write to an object that was deleted, or made again since', async () => {
        const space = await newSpace();
        const { metadata } = await api.apply(configMap(space, 'a', {}), forced);
        const map = configMap(space, 'a', {});
        const old = { ...map, metadata: { ...map.metadata, uid: metadata.uid! } };
        await api.delete(mapRef(space, 'a'), { signal });
        expect(await codeOf(api.apply(old, forced))).toBe('conflict');
        await api.apply(configMap(space, 'a', { x: '1' }), forced);
        expect(await codeOf(api.apply(old, forced))).toBe('invalid');
      });
    });

    describe('Custom resources', () => {
      const group = 'contract.culvert.example';
      const widgets = { apiVersion: `${group}/v1`, kind: 'Widget' };
      const widget = (name: string, content: object): KubeObject => ({
        ...widgets,
        metadata: { name },
        ...content,
      });

      it('The Kubernetes API does not serve a kind until its definition is there', async () => {
        expect(await api.serves(widgets, { signal })).toBe(false);
        expect(await codeOf(api.list(widgets, { signal }))).toBe('not_served');
        await expect(api.get({ ...widgets, name: 'a' }, { signal })).rejects.toMatchObject({
          code: 'not_served',
          message: expect.stringContaining('Widget a'),
        });

        await api.create(definitionOf(group), { signal });
        await expect.poll(() => api.serves(widgets, { signal }), { timeout: 15_000 }).toBe(true);
        await expect
          .poll(() => codeOf(api.apply(widget('ready', { spec: { size: 1 } }), forced)), {
            timeout: 15_000,
          })
          .toBe('no error');
      });

      it('The Kubernetes API writes a status by its subresource alone', async () => {
        const both = widget('a', { spec: { size: 1 }, status: { seen: 'no' } });
        const made = await api.apply(both, forced);
        expect(made['status']).toBeUndefined();
        const asStatus = { ...forced, subresource: 'status' };
        const status = { status: { seen: 'yes' } };
        const seen = await api.apply(widget('a', { ...status, spec: { size: 2 } }), asStatus);
        expect(seen).toMatchObject({ spec: { size: 1 }, ...status });
        const kept = await api.apply(widget('a', { spec: { size: 3 } }), forced);
        expect(kept).toMatchObject({ spec: { size: 3 }, ...status });
      });

      it('The Kubernetes API counts generations by spec, not by status', async () => {
        const made = await api.apply(widget('g', { spec: { size: 1 } }), forced);
        expect(made.metadata.generation).toBe(1);
        const asStatus = { ...forced, subresource: 'status' };
        const seen = await api.apply(widget('g', { status: { seen: 'yes' } }), asStatus);
        expect(seen.metadata.generation).toBe(1);
        const changed = await api.apply(widget('g', { spec: { size: 2 } }), forced);
        expect(changed.metadata.generation).toBe(2);
      });

      it('The Kubernetes API reports not_found for the status of a missing object', async () => {
        const asStatus = { ...forced, subresource: 'status' };
        const call = api.apply(widget('none', { status: { seen: 'yes' } }), asStatus);
        expect(await codeOf(call)).toBe('not_found');
      });
    });

    describe('Update and patch', () => {
      it('The Kubernetes API overwrites no change of another writer', async () => {
        const space = await newSpace();
        const first = await api.create(configMap(space, 'a', { x: '1' }), { signal });
        const second = await api.update({ ...first, data: { x: '2' } }, { signal });
        expect(second['data']).toEqual({ x: '2' });
        expect(await codeOf(api.update({ ...first, data: { x: '3' } }, { signal }))).toBe(
          'conflict',
        );
      });

      it('The Kubernetes API reports not_found for an update of a missing object', async () => {
        const space = await newSpace();
        expect(await codeOf(api.patch(mapRef(space, 'a'), {}, { signal }))).toBe('not_found');
      });

      it('The Kubernetes API merges a patch, in which null removes a field', async () => {
        const space = await newSpace();
        await api.create(configMap(space, 'a', { x: '1', y: '1' }), { signal });
        const patched = await api.patch(
          mapRef(space, 'a'),
          { data: { x: null, z: '1' } },
          { signal },
        );
        expect(patched['data']).toEqual({ y: '1', z: '1' });
      });
    });

    describe('Delete', () => {
      it('The Kubernetes API reports whether the object existed', async () => {
        const space = await newSpace();
        await api.create(configMap(space, 'a', {}), { signal });
        expect(await api.delete(mapRef(space, 'a'), { signal })).toBe(true);
        expect(await api.delete(mapRef(space, 'a'), { signal })).toBe(false);
      });

      it('The Kubernetes API deletes only the object with the uid', async () => {
        const space = await newSpace();
        const { metadata } = await api.create(configMap(space, 'a', {}), { signal });
        const uid = '11111111-2222-3333-4444-555555555555';
        expect(await codeOf(api.delete(mapRef(space, 'a'), { signal, uid }))).toBe('conflict');
        expect(await api.delete(mapRef(space, 'a'), { signal, uid: metadata.uid })).toBe(true);
      });

      it('The Kubernetes API keeps an object until its finalizer is removed', async () => {
        const space = await newSpace();
        const map = configMap(space, 'a', {});
        const metadata = { ...map.metadata, finalizers: ['culvert.example/held'] };
        await api.create({ ...map, metadata }, { signal });
        await api.delete(mapRef(space, 'a'), { signal });
        const held = await api.get(mapRef(space, 'a'), { signal });
        expect(held.metadata.deletionTimestamp).toBeTruthy();
        await api.patch(refOf(held), { metadata: { finalizers: null } }, { signal });
        expect(await codeOf(api.get(mapRef(space, 'a'), { signal }))).toBe('not_found');
      });
    });

    describe('List', () => {
      it('The Kubernetes API lists all pages, each object with its kind', async () => {
        const space = await newSpace();
        const names = ['a', 'b', 'c', 'd', 'e'];
        for (const name of names) await api.create(configMap(space, name, {}), { signal });
        const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace: space };
        const page = await api.list(collection, { signal, limit: 2 });
        expect(page.items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b']);
        const { items } = await listAll(api, collection, { signal, limit: 2 });
        expect(items.map(({ metadata }) => metadata.name)).toEqual(names);
        for (const item of items)
          expect(item).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
      });

      it('The Kubernetes API lists all namespaces', async () => {
        const [here, there] = [await newSpace(), await newSpace()];
        for (const space of [here, there]) {
          await api.create(configMap(space, 'everywhere', {}), { signal });
        }
        const fieldSelector = 'metadata.name=everywhere';
        const everywhere = { apiVersion: 'v1', kind: 'ConfigMap' };
        const { items } = await api.list(everywhere, { signal, fieldSelector });
        expect(items.map(({ metadata }) => metadata.namespace)).toEqual([here, there]);
      });

      it.each([
        ['color=red', ['a']],
        ['color!=red', ['b', 'c']],
        ['color in (red, blue)', ['a', 'b']],
        ['color,color notin (red)', ['b']],
        ['!color', ['c']],
      ])('The Kubernetes API selects by labels: %s', async (labelSelector, names) => {
        const space = await newSpace();
        const colors = { a: { color: 'red' }, b: { color: 'blue' }, c: {} };
        for (const [name, labels] of Object.entries(colors)) {
          const map = configMap(space, name, {});
          await api.create({ ...map, metadata: { ...map.metadata, labels } }, { signal });
        }
        const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace: space };
        const { items } = await api.list(collection, { signal, labelSelector });
        expect(items.map(({ metadata }) => metadata.name)).toEqual(names);
      });
    });

    describe('Watch', () => {
      const collectionIn = (namespace: string) => ({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        namespace,
      });
      const brief = (event: WatchEvent) =>
        event.type === 'bookmark' ? 'bookmark' : `${event.type} ${event.object.metadata.name}`;

      it('The Kubernetes API tells all changes since the version, in order', async () => {
        const space = await newSpace();
        const { resourceVersion } = await api.list(collectionIn(space), { signal });
        const told: string[] = [];
        const watching = (async () => {
          for await (const event of api.watch(collectionIn(space), { signal, resourceVersion })) {
            if (event.type !== 'bookmark') told.push(brief(event));
            if (told.length === 4) return;
          }
        })();
        await api.create(configMap(space, 'a', {}), { signal });
        await api.apply(configMap(space, 'a', { x: '1' }), forced);
        await api.create(configMap(space, 'b', {}), { signal });
        await api.delete(mapRef(space, 'a'), { signal });
        await watching;
        expect(told).toEqual(['added a', 'modified a', 'added b', 'deleted a']);
      });

      it('The Kubernetes API tells an object that leaves the selector as deleted', async () => {
        const space = await newSpace();
        const { resourceVersion } = await api.list(collectionIn(space), { signal });
        const map = configMap(space, 'a', {});
        const labelled = (labels: Record<string, string>) => ({
          ...map,
          metadata: { ...map.metadata, labels },
        });
        await api.apply(labelled({ color: 'red' }), forced);
        await api.apply(labelled({ color: 'blue' }), forced);
        const told: string[] = [];
        const options = { signal, resourceVersion, labelSelector: 'color=red' };
        for await (const event of api.watch(collectionIn(space), options)) {
          told.push(brief(event));
          if (event.type === 'deleted') break;
        }
        expect(told).toEqual(['added a', 'deleted a']);
      });

      it('The Kubernetes API ends a watch by itself', async () => {
        const { resourceVersion } = await api.list(collectionIn('default'), { signal });
        const options = { signal, resourceVersion, timeoutMs: 1_000 };
        for await (const event of api.watch(collectionIn('default'), options)) {
          expect(event.type).toBe('bookmark');
        }
      });

      it('The Kubernetes API rejects a watch with the reason when it is aborted', async () => {
        const { resourceVersion } = await api.list(collectionIn('default'), { signal });
        const stop = new AbortController();
        const reason = new Error('enough');
        const options = { signal: stop.signal, resourceVersion };
        const watch = api.watch(collectionIn('default'), options)[Symbol.asyncIterator]();
        const next = watch.next();
        setImmediate(() => stop.abort(reason));
        await expect(next).rejects.toBe(reason);
      });

      it('The Kubernetes API reports gone for a version that the server no longer knows', async () => {
        const space = await newSpace();
        const { resourceVersion } = await api.list(collectionIn(space), { signal });
        await api.create(configMap(space, 'a', {}), { signal });
        await forget();
        const watch = api.watch(collectionIn(space), { signal, resourceVersion });
        expect(await codeOf(watch[Symbol.asyncIterator]().next())).toBe('gone');
      }, 60_000);

      it('The Kubernetes API reports not_served for an unknown kind', async () => {
        const unknown = { apiVersion: 'nobody.example/v1', kind: 'Nothing' };
        const watch = api.watch(unknown, { signal, resourceVersion: '1' });
        expect(await codeOf(watch[Symbol.asyncIterator]().next())).toBe('not_served');
      });
    });
  });
}

function definitionOf(group: string): KubeObject {
  const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `widgets.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: { plural: 'widgets', singular: 'widget', kind: 'Widget' },
      versions: [{ name: 'v1', served: true, storage: true, subresources: { status: {} }, schema }],
    },
  };
}
