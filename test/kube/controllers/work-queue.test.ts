import { describe, expect, it } from 'vitest';
import { WorkQueue } from '../../../src/kube/controllers/work-queue.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

function newQueue() {
  const clock = new VirtualClock();
  // The whole of the ceiling, every time.
  const backoff = { baseMs: 100, capMs: 1_000, random: () => 1 };
  return { clock, queue: new WorkQueue({ clock, backoff }) };
}

/** All that is ready, as one worker after the other takes it. */
async function takeAll(queue: WorkQueue): Promise<string[]> {
  const taken: string[] = [];
  while (queue.depth > 0) taken.push((await queue.take())!);
  return taken;
}

describe('a work queue', () => {
  it('A work queue returns keys in their order, each key once', async () => {
    const { queue } = newQueue();
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key);
    expect(queue.depth).toBe(3);
    expect(await takeAll(queue)).toEqual(['a', 'b', 'c']);
    expect(queue.running).toBe(3);
  });

  it('A work queue gives the next key to a waiting worker, and each key to one worker', async () => {
    const { queue } = newQueue();
    const workers = [queue.take(), queue.take()];
    queue.add('a');
    queue.add('b');
    expect(await Promise.all(workers)).toEqual(['a', 'b']);
  });

  it('A work queue holds back a key while a worker has it, and returns it once more afterwards', async () => {
    const { queue } = newQueue();
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    expect(queue.depth).toBe(0);
    queue.done('a');
    expect(queue.depth).toBe(1);
    expect(await queue.take()).toBe('a');
    queue.done('a');
    expect(queue.depth).toBe(0);
  });

  it('A work queue adds a key later, at the earliest time that was asked for', async () => {
    const { clock, queue } = newQueue();
    queue.addAfter('a', 500);
    queue.addAfter('a', 200);
    queue.addAfter('a', 900);
    expect(queue.delayed).toBe(1);
    await clock.advance(199);
    expect(queue.depth).toBe(0);
    await clock.advance(1);
    expect([queue.depth, queue.delayed]).toEqual([1, 0]);
    await clock.advance(1_000);
    expect(await takeAll(queue)).toEqual(['a']);
  });

  it('A work queue waits longer after each failure of a key, up to the cap, and from the start after a success', () => {
    const { queue } = newQueue();
    const delays = Array.from({ length: 6 }, () => queue.retry('a'));
    expect(delays).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(queue.attemptsOf('a')).toBe(6);
    expect(queue.retry('b')).toBe(100);
    expect(queue.failing).toBe(2);
    queue.succeeded('a');
    expect(queue.attemptsOf('a')).toBe(0);
    expect(queue.retry('a')).toBe(100);
  });

  it('A work queue waits at least as long as the caller asks', () => {
    const { queue } = newQueue();
    expect(queue.retry('a', 5_000)).toBe(5_100);
  });

  it('A work queue ends its workers when it is closed, and drops waiting keys', async () => {
    const { clock, queue } = newQueue();
    const waiting = queue.take();
    queue.addAfter('later', 100);
    queue.close();
    expect(await waiting).toBeUndefined();
    queue.add('a');
    queue.addAfter('b', 100);
    expect(await queue.take()).toBeUndefined();
    expect([queue.depth, queue.delayed, clock.pendingTimers]).toEqual([0, 0, 0]);
  });

  it('A work queue does not queue a key again that ends after the close', async () => {
    const { queue } = newQueue();
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.close();
    queue.done('a');
    expect([queue.depth, queue.running]).toEqual([0, 0]);
  });
});
