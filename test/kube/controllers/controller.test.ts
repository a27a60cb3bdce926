import { describe, expect, it, onTestFinished } from 'vitest';
import {
  Controller,
  keysFrom,
  type ControllerOptions,
} from '../../../src/kube/controllers/controller.ts';
import { Informer } from '../../../src/kube/controllers/informer.ts';
import { KubeError } from '../../../src/kube/client/kube-error.ts';
import { MemoryKubeApi } from '../../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

const configMap = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: 'default', name, labels },
});
const forced = { signal: new AbortController().signal, force: true };

function start(given: Pick<ControllerOptions, 'reconcile'> & Partial<ControllerOptions>) {
  const clock = new VirtualClock(100);
  const api = new MemoryKubeApi();
  const collection = { apiVersion: 'v1', kind: 'ConfigMap' };
  const informer = new Informer({ api, collection, clock });
  const backoff = { baseMs: 100, capMs: 1_000, random: () => 1 };
  const sources = [keysFrom(informer)];
  const controller = new Controller({ name: 'test', sources, clock, backoff, ...given });
  const stop = new AbortController();
  const following = informer.run(stop.signal);
  const running = controller.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await clock.advance(60_000);
    await Promise.all([following, running]);
  });
  return { clock, api, informer, controller, stop, running };
}

describe('a controller', () => {
  it('A controller reconciles existing objects when it starts, and changed objects', async () => {
    const seen: string[] = [];
    const reconcile = (key: string) => Promise.resolve(void seen.push(key));
    const { api, clock, controller } = start({ reconcile });
    api.put(configMap('a'));
    await clock.advance(10);
    expect(seen).toEqual(['default/a']);
    await api.apply(configMap('b'), forced);
    await api.delete({ ...configMap('a'), namespace: 'default', name: 'a' }, forced);
    await clock.advance(10);
    expect(seen).toEqual(['default/a', 'default/b', 'default/a']);
    expect(controller.status).toMatchObject({
      isSynced: true,
      reconciled: 3,
      retries: 0,
      depth: 0,
    });
  });

  it('A controller works on nothing before all its sources have synced', async () => {
    const seen: string[] = [];
    const synced = Promise.withResolvers<void>();
    const slow = { follow: () => () => {}, synced: () => synced.promise };
    const early = {
      follow: (add: (key: string) => void) => {
        add('a');
        return () => {};
      },
      synced: () => Promise.resolve(),
    };
    const reconcile = (key: string) => Promise.resolve(void seen.push(key));
    const { clock, controller } = start({ reconcile, sources: [early, slow] });
    await clock.advance(1_000);
    expect([seen, controller.status.isSynced, controller.status.depth]).toEqual([[], false, 1]);
    synced.resolve();
    await clock.advance(10);
    expect(seen).toEqual(['a']);
  });

  it('A controller derives keys from changes as its source defines', async () => {
    const seen: string[] = [];
    const api = new MemoryKubeApi();
    const informer = new Informer({ api, collection: { apiVersion: 'v1', kind: 'ConfigMap' } });
    const owners = keysFrom(informer, ({ old, now }) =>
      [old, now].flatMap((object) => object?.metadata.labels?.['owner'] ?? []),
    );
    owners.follow((key) => seen.push(key));
    const stop = new AbortController();
    const running = informer.run(stop.signal);
    api.put(configMap('a', { owner: 'x' }));
    await informer.synced(forced.signal);
    await api.apply(configMap('a', { owner: 'y' }), forced);
    await expect.poll(() => seen).toEqual(['x', 'x', 'y']);
    stop.abort();
    await running;
  });

  it('A controller retries a failed key with growing delays, and counts the attempts', async () => {
    const atMs: number[] = [];
    let fails = 3;
    const reconcile = () => {
      atMs.push(clock.now());
      return fails-- > 0 ? Promise.reject(new Error('no')) : Promise.resolve(undefined);
    };
    const { clock, controller } = start({ reconcile, sources: [] });
    controller.add('a');
    await clock.advance(10);
    expect(controller.status).toMatchObject({ failing: 1, delayed: 1, retries: 1 });
    await clock.advance(2_000);
    expect(atMs).toEqual([0, 100, 300, 700]);
    expect(controller.status).toMatchObject({ failing: 0, retries: 3, reconciled: 1 });
  });

  it('A controller waits as long as the API server asks', async () => {
    const atMs: number[] = [];
    const reconcile = () => {
      atMs.push(clock.now());
      const busy = new KubeError('unavailable', 'too many', { retryAfterMs: 5_000 });
      return atMs.length === 1 ? Promise.reject(busy) : Promise.resolve(undefined);
    };
    const { clock, controller } = start({ reconcile, sources: [] });
    controller.add('a');
    await clock.advance(10_000);
    expect(atMs).toEqual([0, 5_100]);
  });

  it('A controller reconciles again after the delay that a reconcile returns', async () => {
    const atMs: number[] = [];
    const reconcile = () => {
      atMs.push(clock.now());
      return Promise.resolve(atMs.length < 3 ? { againAfterMs: 1_000 } : undefined);
    };
    const { clock, controller } = start({ reconcile, sources: [] });
    controller.add('a');
    await clock.advance(10_000);
    expect(atMs).toEqual([0, 1_000, 2_000]);
  });

  it('A controller gives a key to one worker at a time, and different keys to all workers', async () => {
    const running = new Map<string, number>();
    let most = 0;
    const reconcile = async (key: string) => {
      expect(running.get(key) ?? 0).toBe(0);
      running.set(key, 1);
      most = Math.max(
        most,
        [...running.values()].reduce((a, b) => a + b),
      );
      await new Promise<void>((resolve) => void clock.setTimer(100, resolve));
      running.set(key, 0);
      return undefined;
    };
    const { clock, controller } = start({ reconcile, sources: [], workers: 2 });
    for (const key of ['a', 'b', 'c', 'a']) controller.add(key);
    await clock.advance(50);
    controller.add('a');
    await clock.advance(1_000);
    expect(most).toBe(2);
    expect(controller.status.reconciled).toBe(4);
  });

  it('A controller aborts a reconcile that hangs, and retries', async () => {
    let calls = 0;
    const reconcile = (_: string, signal: AbortSignal) => {
      if (++calls > 1) return Promise.resolve(undefined);
      return new Promise<undefined>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    };
    const { clock, controller } = start({ reconcile, sources: [], timeoutMs: 30_000 });
    controller.add('a');
    await clock.advance(29_999);
    expect([calls, controller.status.running]).toEqual([1, 1]);
    await clock.advance(1_000);
    expect([calls, controller.status.retries, controller.status.running]).toEqual([2, 1, 0]);
  });

  it('A controller waits for running reconciles when it is stopped, and aborts them after a while', async () => {
    const cut: string[] = [];
    const reconcile = async (key: string, signal: AbortSignal) => {
      signal.addEventListener('abort', () => cut.push(key));
      const ms = key === 'slow' ? 60_000 : 1_000;
      await new Promise<void>((resolve) => {
        clock.setTimer(ms, resolve);
        signal.addEventListener('abort', () => resolve());
      });
      return undefined;
    };
    const { clock, controller, stop, running } = start({
      reconcile,
      sources: [],
      lastRunsMs: 5_000,
    });
    let isOver = false;
    void running.then(() => (isOver = true));
    for (const key of ['quick', 'slow']) controller.add(key);
    await clock.advance(10);
    stop.abort();
    controller.add('late');
    await clock.advance(4_000);
    expect([isOver, controller.status.running]).toEqual([false, 1]);
    await clock.advance(1_000);
    expect([isOver, cut]).toEqual([true, ['slow']]);
    expect(controller.status.reconciled).toBe(2);
  });
});
