import { describe, expect, it } from 'vitest';
import { AnswerCache } from '../../src/access/answer-cache.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

function cacheOf(most = 3) {
  const clock = new VirtualClock();
  const asked: string[] = [];
  const cache = new AnswerCache<string | undefined>({
    clock,
    good: { forMs: 10_000, most },
    bad: { forMs: 3_000, most },
  });
  const ask = (answer: string | undefined, ...question: string[]) =>
    cache.get(question, async () => {
      asked.push(question.join('|'));
      return answer;
    });
  return { clock, cache, asked, ask };
}

describe('The cache of answers', () => {
  it('The cache keeps a good answer for its time, and a bad one for a shorter time', async () => {
    const { clock, asked, ask } = cacheOf();
    expect(await ask('yes', 'good')).toBe('yes');
    expect(await ask(undefined, 'bad')).toBeUndefined();
    await clock.advance(2_999);
    await ask('yes', 'good');
    await ask(undefined, 'bad');
    expect(asked).toEqual(['good', 'bad']);
    await clock.advance(1);
    await ask('yes', 'good');
    expect(await ask('now good', 'bad')).toBe('now good');
    expect(asked).toEqual(['good', 'bad', 'bad']);
    await clock.advance(7_000);
    expect(await ask(undefined, 'good')).toBeUndefined();
  });

  it('The cache forgets a good answer when the same question gets a bad one', async () => {
    const { clock, ask } = cacheOf();
    await ask('yes', 'q');
    await clock.advance(10_000);
    await ask(undefined, 'q');
    expect(await ask('never asked', 'q')).toBeUndefined();
  });

  it('Bad answers do not push out good ones, and both tables are bounded', async () => {
    const { cache, asked, ask } = cacheOf();
    await ask('yes', 'good');
    for (let number = 0; number < 100; number++) await ask(undefined, `bad ${number}`);
    asked.length = 0;
    expect(await ask('other', 'good')).toBe('yes');
    expect(asked).toEqual([]);
    expect(cache.size).toBe(4);
  });

  it('Parts of a question never run together, so no question gets the answer of another', async () => {
    const { ask } = cacheOf(100);
    await ask('of a cluster', 'cluster-a', 'token');
    const others = [
      ['cluster-', 'atoken'],
      ['cluster-atoken'],
      ['cluster-a', 'token', ''],
      ['', 'cluster-a', 'token'],
      ['cluster-b', 'token'],
      ['cluster-a","token'],
      ['cluster-a\0token'],
      ['cluster-a', 'TOKEN'],
    ];
    for (const question of others) expect(await ask(undefined, ...question)).toBeUndefined();
    // Lone surrogates would all become the same replacement character in UTF-8.
    expect(await ask('d800', '\ud800')).toBe('d800');
    expect(await ask('d801', '\ud801')).toBe('d801');
  });

  it('Concurrent callers share one question, and one that leaves does not end it', async () => {
    const { cache } = cacheOf();
    const answer = Promise.withResolvers<string>();
    let asked = 0;
    const ask = () => {
      asked++;
      return answer.promise;
    };
    const leaving = new AbortController();
    const left = cache.get(['q'], ask, leaving.signal);
    const stayed = cache.get(['q'], ask, new AbortController().signal);
    await expect.poll(() => asked).toBe(1);
    leaving.abort(new Error('left'));
    await expect(left).rejects.toThrow('left');
    answer.resolve('yes');
    expect(await stayed).toBe('yes');
    expect(asked).toBe(1);
  });

  it('An answer that is kept is there at once when the digest is', async () => {
    const clock = new VirtualClock();
    const kept = { forMs: 10_000, most: 3 };
    const digest = (text: string): string => `digest of ${text}`;
    const cache = new AnswerCache<string>({ clock, good: kept, bad: kept, digest });
    const first = cache.get(['q'], async () => 'yes');
    expect(first).toBeInstanceOf(Promise);
    expect(await first).toBe('yes');
    expect(cache.get(['q'], async () => 'no')).toBe('yes');
    const aborted = AbortSignal.abort(new Error('left'));
    expect(() => cache.get(['q'], async () => 'no', aborted)).toThrow('left');
    await clock.advance(10_000);
    expect(await cache.get(['q'], async () => 'no')).toBe('no');
  });

  it('The cache keeps no error', async () => {
    const { cache, ask } = cacheOf();
    await expect(
      cache.get(['q'], () => Promise.reject(new Error('the API server is away'))),
    ).rejects.toThrow('away');
    expect(await ask('yes', 'q')).toBe('yes');
  });

  it('The cache keeps an answer at most as long as it is valid', async () => {
    const clock = new VirtualClock();
    const cache = new AnswerCache<number | undefined>({
      clock,
      good: { forMs: 10_000, most: 3 },
      bad: { forMs: 10_000, most: 3 },
      validForMs: (answer) => answer ?? Infinity,
    });
    await cache.get(['q'], async () => 1_000);
    await clock.advance(1_000);
    expect(await cache.get(['q'], async () => -1)).toBe(-1);
    expect(await cache.get(['q'], async () => 5)).toBe(5);
  });
});
