import { describe, expect, it, onTestFinished } from 'vitest';
import { Backoff } from '../../../src/base/backoff.ts';
import {
  Informer,
  type InformerOptions,
  type ObjectChange,
} from '../../../src/kube/controllers/informer.ts';
import { KubeError } from '../../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { MemoryKubeApi, type MemoryCall } from '../../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

const forced = { signal: new AbortController().signal, force: true };
const collection = { apiVersion: 'v1', kind: 'ConfigMap' };

function configMap(name: string, labels: Record<string, string> = {}, x = ''): KubeObject {
  return { ...collection, metadata: { namespace: 'default', name, labels }, data: { x } };
}
const refTo = (name: string) => ({ ...collection, namespace: 'default', name });

interface Given extends Partial<InformerOptions<KubeObject>> {
  readonly intercept?: (call: MemoryCall) => Error | undefined;
  readonly objects?: readonly KubeObject[];
}

function follow({ intercept, objects = [], ...options }: Given = {}) {
  const clock = new VirtualClock(100);
  const api = new MemoryKubeApi(intercept === undefined ? {} : { intercept });
  for (const object of objects) api.put(object);
  const backoff = new Backoff({ baseMs: 500, capMs: 15_000, random: () => 0.99 });
  const informer = new Informer({ api, collection, clock, backoff, ...options });
  const changes: string[] = [];
  informer.onChange((change) => changes.push(brief(change)));
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    expect(clock.pendingTimers).toBe(0);
  });
  return { clock, api, informer, changes, stop, running };
}

function brief({ key, old, now }: ObjectChange): string {
  const verb = old === undefined ? 'new' : now === undefined ? 'gone' : 'changed';
  return `${verb} ${key}`;
}

const callsOf = ({ calls }: MemoryKubeApi, verb: MemoryCall['verb']) =>
  calls.filter((call) => call.verb === verb).length;

describe('an informer', () => {
  it('An informer lists, then follows', async () => {
    const { api, clock, informer, changes } = follow({ objects: [configMap('a')] });
    expect(informer.hasSynced).toBe(false);
    await clock.advance(10);
    expect(informer.hasSynced).toBe(true);
    await api.apply(configMap('b'), forced);
    await api.apply(configMap('b', {}, '2'), forced);
    await api.delete(refTo('a'), forced);
    await clock.advance(10);
    expect(changes).toEqual([
      'new default/a',
      'new default/b',
      'changed default/b',
      'gone default/a',
    ]);
    expect(informer.keys()).toEqual(['default/b']);
    expect(informer.get('default/b')).toMatchObject({ data: { x: '2' } });
    expect(callsOf(api, 'list')).toBe(1);
  });

  it('An informer lists page by page', async () => {
    const objects = Array.from({ length: 1_203 }, (_, index) => configMap(`m${index}`));
    const { api, clock, informer } = follow({ objects });
    await clock.advance(10);
    expect(informer.size).toBe(1_203);
    expect(callsOf(api, 'list')).toBe(3);
  });

  it('An informer tells a late listener all existing objects', async () => {
    const { clock, informer } = follow({ objects: [configMap('a')] });
    await clock.advance(10);
    const late: string[] = [];
    const end = informer.onChange((change) => late.push(brief(change)));
    end();
    end();
    expect(late).toEqual(['new default/a']);
  });

  it('An informer has the old and the new object in a change', async () => {
    const { api, clock, informer } = follow({ objects: [configMap('a', {}, '1')] });
    await clock.advance(10);
    const changes: ObjectChange[] = [];
    informer.onChange((change) => changes.push(change));
    await api.apply(configMap('a', {}, '2'), forced);
    await clock.advance(10);
    expect(changes.at(-1)).toMatchObject({ old: { data: { x: '1' } }, now: { data: { x: '2' } } });
  });

  it('An informer survives a listener that throws', async () => {
    const { api, clock, informer, changes } = follow();
    informer.onChange(() => {
      throw new Error('a defect');
    });
    await clock.advance(10);
    await api.apply(configMap('a'), forced);
    await clock.advance(10);
    await api.apply(configMap('b'), forced);
    await clock.advance(10);
    expect(changes).toEqual(['new default/a', 'new default/b']);
  });

  it('An informer sees only objects that its selectors match', async () => {
    const { api, clock, informer } = follow({
      labelSelector: 'color=red',
      objects: [configMap('a', { color: 'red' }), configMap('b')],
    });
    await clock.advance(10);
    await api.apply(configMap('c', { color: 'red' }), forced);
    await api.apply(configMap('a', { color: 'blue' }), forced);
    await clock.advance(10);
    expect(informer.keys()).toEqual(['default/c']);
  });

  it('An informer finds objects by index, also when their index values change', async () => {
    const indexers = { color: ({ metadata }: KubeObject) => Object.values(metadata.labels ?? {}) };
    const objects = [configMap('a', { color: 'red' }), configMap('b', { color: 'red' })];
    const { api, clock, informer } = follow({ indexers, objects });
    await clock.advance(10);
    const named = (value: string) =>
      informer.byIndex('color', value).map(({ metadata }) => metadata.name);
    expect(named('red')).toEqual(['a', 'b']);
    await api.apply(configMap('a', { color: 'blue' }), forced);
    await api.delete(refTo('b'), forced);
    await clock.advance(10);
    expect([named('red'), named('blue'), named('none')]).toEqual([[], ['a'], []]);
    expect(() => informer.byIndex('size', 'x')).toThrow('there is no index size');
  });

  it('An informer keeps the requested part of an object, and by default no managedFields', async () => {
    const managedFields = [{ manager: 'kubectl' }];
    const map = configMap('a', {}, '1');
    const managed: KubeObject = { ...map, metadata: { ...map.metadata, managedFields } as never };
    const whole = follow({ objects: [managed] });
    await whole.clock.advance(10);
    expect(whole.informer.get('default/a')?.metadata).not.toHaveProperty('managedFields');
    expect(whole.informer.get('default/a')).toHaveProperty('data');

    const keep = ({ apiVersion, kind, metadata }: KubeObject) => ({ apiVersion, kind, metadata });
    const trimmed = follow({ objects: [managed], keep });
    await trimmed.clock.advance(10);
    await trimmed.api.apply(configMap('b', {}, '1'), forced);
    await trimmed.clock.advance(10);
    for (const object of trimmed.informer.list()) expect(object).not.toHaveProperty('data');
  });

  it('An informer tells everything again when it resyncs', async () => {
    const { clock, changes } = follow({ objects: [configMap('a')], resyncEveryMs: 60_000 });
    await clock.advance(130_000);
    expect(changes).toEqual(['new default/a', 'changed default/a', 'changed default/a']);
  });

  it('An informer continues where it was when a watch ends in order, with no second list', async () => {
    const { api, clock, changes } = follow({ objects: [configMap('a')] });
    await clock.advance(5_000);
    api.endWatches();
    await clock.advance(10);
    await api.apply(configMap('b'), forced);
    await clock.advance(16_000);
    expect(changes).toEqual(['new default/a', 'new default/b']);
    expect(callsOf(api, 'list')).toBe(1);
  });

  it('An informer lists again when a watch breaks off, although the server is back at once', async () => {
    const { api, clock, informer, changes } = follow({ objects: [configMap('a')] });
    await clock.advance(5_000);
    api.goAway();
    await clock.advance(10);
    expect(informer.problem).toContain('cannot watch ConfigMaps');
    api.put(configMap('b'));
    api.comeBack();
    await clock.advance(16_000);
    expect(changes).toEqual(['new default/a', 'new default/b']);
    expect(callsOf(api, 'list')).toBe(2);
  });

  it('An informer shows the objects of a restored backup when the server is back before the next request', async () => {
    const { api, clock, informer } = follow({ objects: [configMap('a', {}, 'old')] });
    await clock.advance(5_000);
    const restore = api.backUp();
    await api.apply(configMap('a', {}, 'new'), forced);
    await clock.advance(10);
    api.goAway();
    await clock.advance(10);
    restore();
    api.comeBack();
    await clock.advance(16_000);
    expect(informer.get('default/a')).toMatchObject({ data: { x: 'old' } });
  });

  it('An informer keeps its objects during an outage, and lists once when the server comes back', async () => {
    const { api, clock, informer, changes } = follow({ objects: [configMap('a')] });
    await clock.advance(5_000);
    api.goAway();
    await clock.advance(60_000);
    expect(informer.problem).toContain('ConfigMaps');
    expect(informer.get('default/a')).toBeDefined();
    const before = callsOf(api, 'list');
    api.put(configMap('b'));
    api.comeBack();
    api.calls.length = 0;
    await clock.advance(16_000);
    expect(before).toBeGreaterThan(1);
    expect(changes).toEqual(['new default/a', 'new default/b']);
    expect(callsOf(api, 'list')).toBe(1);
    await api.apply(configMap('c'), forced);
    await clock.advance(10);
    expect(informer.problem).toBeUndefined();
  });

  it('An informer continues from the last change that it saw, whatever older versions the server no longer knows', async () => {
    const { api, clock, changes } = follow({ objects: [configMap('a')] });
    await clock.advance(5_000);
    await api.apply(configMap('b'), forced);
    await clock.advance(10);
    api.compact();
    api.endWatches();
    await clock.advance(10);
    await api.apply(configMap('c'), forced);
    await clock.advance(16_000);
    expect(changes).toEqual(['new default/a', 'new default/b', 'new default/c']);
    expect(callsOf(api, 'list')).toBe(1);
  });

  it.each([
    ['fewer', 0],
    ['more', 20],
  ])(
    'An informer shows what a backup has brought back, with %s changes since than it saw before',
    async (_, changesSince) => {
      const { api, clock, informer } = follow({ objects: [configMap('a', {}, 'old')] });
      await clock.advance(5_000);
      const restore = api.backUp();
      await api.apply(configMap('a', {}, 'new'), forced);
      await api.apply(configMap('b'), forced);
      await clock.advance(10);
      expect(informer.keys()).toEqual(['default/a', 'default/b']);
      api.goAway();
      await clock.advance(10_000);
      restore();
      for (let count = 0; count < changesSince; count++) api.put(configMap('c', {}, `${count}`));
      api.comeBack();
      await clock.advance(16_000);
      expect(informer.get('default/a')).toMatchObject({ data: { x: 'old' } });
      expect(informer.get('default/b')).toBeUndefined();
      expect(informer.size).toBe(changesSince === 0 ? 1 : 2);
      await api.apply(configMap('a', {}, 'newest'), forced);
      await clock.advance(10);
      expect(informer.get('default/a')).toMatchObject({ data: { x: 'newest' } });
    },
  );

  it('An informer lists no more often for a server that answers 429', async () => {
    let isBusy = false;
    const { api, clock } = follow({
      objects: [configMap('a')],
      intercept: () => (isBusy ? new KubeError('unavailable', 'busy', { status: 429 }) : undefined),
    });
    await clock.advance(5_000);
    isBusy = true;
    api.endWatches();
    await clock.advance(5_000);
    isBusy = false;
    await clock.advance(16_000);
    expect(callsOf(api, 'list')).toBe(1);
  });

  it('An informer waits longer and longer for a server that is away', async () => {
    const atMs: number[] = [];
    const { clock } = follow({
      intercept: () => {
        atMs.push(clock.now());
        return new KubeError('unavailable', 'away');
      },
    });
    await clock.advance(60_000);
    const gaps = atMs.slice(1).map((at, index) => Math.round(at - atMs[index]!));
    expect(gaps.slice(0, 5)).toEqual([495, 990, 1_980, 3_960, 7_920]);
    expect(Math.max(...gaps)).toBe(14_850);
  });

  it('An informer waits as long as the server asks', async () => {
    const atMs: number[] = [];
    const { clock } = follow({
      intercept: () => {
        atMs.push(clock.now());
        return new KubeError('unavailable', 'busy', { retryAfterMs: 20_000 });
      },
    });
    await clock.advance(25_000);
    expect(atMs.map(Math.round)).toEqual([0, 20_495]);
  });

  it('An informer lists again when its version is gone, and tells changes of that time as one change', async () => {
    const { api, clock, informer, changes } = follow({
      objects: [configMap('a'), configMap('b'), configMap('c')],
    });
    await clock.advance(5_000);
    changes.length = 0;
    api.goAway();
    await clock.advance(10);
    api.put(configMap('a', {}, '2'));
    api.put(configMap('a', {}, '3'));
    api.comeBack();
    await api.delete(refTo('b'), forced);
    await api.apply(configMap('d'), forced);
    api.compact();
    await clock.advance(16_000);
    expect(changes.toSorted()).toEqual(['changed default/a', 'gone default/b', 'new default/d']);
    expect(informer.get('default/a')).toMatchObject({ data: { x: '3' } });
    expect(callsOf(api, 'list')).toBe(2);
  });

  it('An informer begins the list again when the continue token expires', async () => {
    let lists = 0;
    const objects = Array.from({ length: 600 }, (_, index) => configMap(`m${index}`));
    const { clock, informer } = follow({
      objects,
      intercept: ({ verb }) =>
        verb === 'list' && ++lists === 2 ? new KubeError('gone', 'too old') : undefined,
    });
    await clock.advance(10);
    expect([informer.size, lists]).toEqual([600, 4]);
  });

  it('An informer waits for a kind that is not served yet, and then follows it', async () => {
    const widgets = { apiVersion: 'x.example/v1', kind: 'Widget' };
    const { api, clock, informer } = follow({ collection: widgets });
    await clock.advance(1_000);
    expect(informer.problem).toContain('not served');
    expect(informer.hasSynced).toBe(false);
    api.put({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'widgets.x.example' },
      spec: {
        group: 'x.example',
        scope: 'Cluster',
        names: { kind: 'Widget' },
        versions: [{ name: 'v1' }],
      },
    });
    api.put({ ...widgets, metadata: { name: 'a' } });
    await clock.advance(16_000);
    expect(informer.keys()).toEqual(['a']);
  });

  it('An informer waits longer when every watch ends at once', async () => {
    const { api, clock } = follow({
      intercept: ({ verb }) => (verb === 'watch' ? new KubeError('gone', 'too old') : undefined),
    });
    await clock.advance(60_000);
    expect(callsOf(api, 'list')).toBeLessThan(12);
  });

  it('An informer releases its waiters when their signal aborts', async () => {
    const { informer } = follow({ intercept: () => new KubeError('unavailable', 'away') });
    const stop = new AbortController();
    const reason = new Error('enough');
    const waiting = informer.synced(stop.signal);
    stop.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });
});
