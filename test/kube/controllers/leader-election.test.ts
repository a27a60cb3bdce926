import { describe, expect, it, onTestFinished } from 'vitest';
import { LeaderElection, type Lease } from '../../../src/kube/controllers/leader-election.ts';
import { sleep } from '../../../src/base/sleep.ts';
import type { CallOptions } from '../../../src/kube/client/kube-api.ts';
import { KubeError } from '../../../src/kube/client/kube-error.ts';
import { MemoryKubeApi, type MemoryCall } from '../../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

const lease = { namespace: 'default', name: 'leader' };
const leaseRef = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', ...lease };

function world() {
  const clock = new VirtualClock(100);
  const api = new MemoryKubeApi();
  const told: string[] = [];

  /** The answer to a call that the server carries out at once. */
  const delayed = async <T>(answer: Promise<T>, byMs: number, timeoutMs: number): Promise<T> => {
    await Promise.allSettled([answer]);
    await sleep(clock, Math.min(byMs, timeoutMs), new AbortController().signal);
    if (byMs > timeoutMs) throw new KubeError('timeout', 'no answer');
    return await answer;
  };

  /**
   * A process that wants to lead. `cut` makes its calls fail. `late` has the delays of answers in
   * milliseconds.
   */
  const join = (identity: string, lead?: (signal: AbortSignal) => Promise<void>) => {
    const cut = { value: false };
    const late: Partial<Record<'get' | 'create' | 'update', number>> = {};
    const own = new Proxy(api, {
      get: (target, verb, receiver) => {
        if (cut.value && ['get', 'create', 'update'].includes(String(verb))) {
          return () => Promise.reject(new KubeError('unavailable', 'cut off'));
        }
        const byMs = late[verb as keyof typeof late];
        if (byMs !== undefined) {
          return (object: never, options: CallOptions) =>
            delayed(target[verb as 'update'](object, options), byMs, options.timeoutMs!);
        }
        const member = Reflect.get(
          target,
          verb,
          receiver === target ? receiver : target,
        ) as unknown;
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    const election = new LeaderElection({
      api: own,
      lease,
      identity,
      clock,
      wallClock: () => new Date(clock.now()),
      random: () => 0,
    });
    const stop = new AbortController();
    const running = election.run(
      lead ??
        (async (signal) => {
          told.push(`${identity} leads at ${clock.now()}`);
          await new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => resolve());
          });
          told.push(`${identity} ends at ${clock.now()}`);
        }),
      stop.signal,
    );
    running.catch(() => {});
    onTestFinished(async () => {
      stop.abort();
      await clock.advance(60_000);
      await running.catch(() => {});
    });
    return { election, stop, running, cut, late };
  };
  const stored = () => api.peek<Lease>(leaseRef);
  return { clock, api, told, join, stored };
}

describe('a leader election', () => {
  it('A candidate leads at once if there is no leader, and writes its name to the Lease', async () => {
    const { clock, told, join, stored } = world();
    const { election } = join('one');
    await clock.advance(10);
    expect(told).toEqual(['one leads at 0']);
    expect([election.isLeading, election.leader]).toEqual([true, 'one']);
    expect(stored()?.spec).toMatchObject({
      holderIdentity: 'one',
      leaseDurationSeconds: 15,
      leaseTransitions: 0,
    });
    expect(stored()?.spec?.renewTime).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  });

  it('A candidate renews every two seconds, and keeps the others waiting', async () => {
    const { api, clock, told, join } = world();
    const one = join('one');
    await clock.advance(10);
    const two = join('two');
    await clock.advance(60_000);
    expect(told).toEqual(['one leads at 0']);
    expect([one.election.isLeading, two.election.isLeading, two.election.leader]).toEqual([
      true,
      false,
      'one',
    ]);
    expect(api.calls.filter(({ verb }) => verb === 'update')).toHaveLength(30);
  });

  it('A candidate releases the Lease when it is stopped, after its work has ended, and the next candidate leads soon', async () => {
    const { clock, told, join, stored } = world();
    const one = join('one');
    await clock.advance(10);
    join('two');
    await clock.advance(4_990);
    one.stop.abort();
    await one.running;
    expect(stored()?.spec).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
    await clock.advance(3_000);
    expect(told.slice(0, 2)).toEqual(['one leads at 0', 'one ends at 5000']);
    expect(told[2]).toMatch(/^two leads at [5-7]\d{3}$/);
    expect(stored()?.spec).toMatchObject({ holderIdentity: 'two', leaseTransitions: 1 });
  });

  it('A candidate takes over from a leader that is silent for longer than the lease, not sooner', async () => {
    const { clock, told, join } = world();
    const one = join('one');
    await clock.advance(10);
    join('two');
    await clock.advance(9_990);
    one.cut.value = true;
    // The last renewal was at 10 s, or at 8 s.
    await clock.advance(12_000);
    expect(told).not.toContainEqual(expect.stringContaining('two leads'));
    await clock.advance(8_000);
    expect(told).toContainEqual(expect.stringContaining('two leads'));
  });

  it('A candidate stops leading before another may begin, when it cannot renew', async () => {
    const { clock, told, join } = world();
    const one = join('one');
    await clock.advance(10);
    join('two');
    await clock.advance(9_990);
    one.cut.value = true;
    await clock.advance(30_000);
    const times = told.map((line) => Number(/\d+$/.exec(line)![0]));
    expect(told.map((line) => line.replace(/ at \d+$/, ''))).toEqual([
      'one leads',
      'one ends',
      'two leads',
    ]);
    expect(times[1]).toBeLessThanOrEqual(20_000);
    expect(times[2]! - times[1]!).toBeGreaterThanOrEqual(4_000);
    expect(one.election.isLeading).toBe(false);
  });

  it('A candidate whose Lease was answered late stops leading before another may begin', async () => {
    const { clock, told, join } = world();
    const one = join('one');
    one.late.create = 9_500;
    await clock.advance(10);
    join('two');
    await clock.advance(9_600);
    one.cut.value = true;
    await clock.advance(30_000);
    expect(told.map((line) => line.replace(/ at \d+$/, ''))).toEqual([
      'one leads',
      'one ends',
      'two leads',
    ]);
  });

  it('A candidate stops leading in time when a conflict comes late and the Lease cannot be read', async () => {
    const { clock, api, told, join, stored } = world();
    const one = join('one');
    await clock.advance(3_000);
    // Its own write, whose answer was lost.
    api.put({ ...stored()!, spec: { ...stored()!.spec, renewTime: 'lost' } });
    Object.assign(one.late, { update: 7_000, get: 60_000 });
    await clock.advance(30_000);
    const [, ended] = told.map((line) => Number(/\d+$/.exec(line)![0]));
    // The last renewal was at 2 s.
    expect(ended).toBeLessThanOrEqual(12_500);
  });

  it('A candidate survives failures that are shorter than its time to renew', async () => {
    const { clock, told, join } = world();
    const one = join('one');
    await clock.advance(5_000);
    one.cut.value = true;
    await clock.advance(6_000);
    one.cut.value = false;
    await clock.advance(30_000);
    expect(told).toEqual(['one leads at 0']);
  });

  it('A candidate stops leading at once when another process has taken the Lease', async () => {
    const { api, clock, told, join, stored } = world();
    const one = join('one');
    await clock.advance(3_000);
    api.put({ ...stored()!, spec: { ...stored()!.spec, holderIdentity: 'thief' } });
    await clock.advance(2_000);
    expect(told).toEqual(['one leads at 0', expect.stringMatching(/^one ends at [345]\d{3}$/)]);
    expect(one.election.leader).toBe('thief');
  });

  it('A candidate leads again after the Lease was lost and found', async () => {
    const { clock, told, join } = world();
    const one = join('one');
    await clock.advance(5_000);
    one.cut.value = true;
    await clock.advance(20_000);
    one.cut.value = false;
    await clock.advance(20_000);
    expect(told.map((line) => line.replace(/ at \d+$/, ''))).toEqual([
      'one leads',
      'one ends',
      'one leads',
    ]);
  });

  it('A leader election lets one of two candidates lead that begin at the same moment', async () => {
    const { clock, told, join } = world();
    join('one');
    join('two');
    await clock.advance(30_000);
    expect(told).toHaveLength(1);
  });

  it('A candidate continues to lead when a backup brings back an older Lease of its own', async () => {
    const { clock, api, told, join, stored } = world();
    join('a');
    await clock.advance(5_000);
    const restore = api.backUp();
    await clock.advance(60_000);
    restore();
    await clock.advance(30_000);
    expect(told).toEqual([expect.stringContaining('a leads')]);
    expect(Date.parse(stored()!.spec!.renewTime!)).toBeGreaterThan(clock.now() - 3_000);
  });

  it('A candidate leads again some seconds after a backup has brought back the Lease of a holder that no longer exists', async () => {
    const { clock, api, told, join, stored } = world();
    const gone = join('gone');
    await clock.advance(5_000);
    const restore = api.backUp();
    gone.stop.abort();
    await clock.advance(5_000);
    join('a');
    await clock.advance(60_000);
    expect(stored()?.spec?.holderIdentity).toBe('a');
    told.length = 0;
    restore();
    await clock.advance(30_000);
    expect(told).toEqual([expect.stringContaining('a ends'), expect.stringContaining('a leads')]);
    expect(stored()?.spec?.holderIdentity).toBe('a');
  });

  it('A candidate waits for a Lease from the future or the past alike, because clocks are not compared', async () => {
    const { api, clock, told, join } = world();
    api.put({
      ...leaseRef,
      metadata: lease,
      spec: {
        holderIdentity: 'dead',
        leaseDurationSeconds: 15,
        renewTime: '2001-01-01T00:00:00.000000Z',
      },
    });
    join('one');
    await clock.advance(14_000);
    expect(told).toEqual([]);
    await clock.advance(3_000);
    expect(told).toEqual([expect.stringContaining('one leads')]);
  });

  it('A candidate ends with its work, and releases the Lease', async () => {
    const { clock, join, stored } = world();
    const failure = new Error('a defect');
    const one = join('one', () => Promise.reject(failure));
    await clock.advance(3_000);
    await expect(one.running).rejects.toBe(failure);
    expect(stored()?.spec?.holderIdentity).toBe('');
  });

  it('A candidate writes nothing while it waits', async () => {
    const { api, clock, join } = world();
    const one = join('one');
    await clock.advance(10);
    one.cut.value = true;
    join('two');
    const isWrite = ({ verb }: MemoryCall) => verb === 'update' || verb === 'create';
    const before = api.calls.filter(isWrite).length;
    await clock.advance(9_000);
    expect(api.calls.filter(isWrite)).toHaveLength(before);
  });
});
