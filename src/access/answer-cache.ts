import type { Clock } from '../base/clock.ts';
import { type MaybePromise, whenKnown } from '../base/maybe-promise.ts';
import { type KeyedDigest, webKeyedDigest } from './keyed-digest.ts';

/** How long an answer is kept, in milliseconds (0: not at all), and how many are kept. */
export interface KeptAnswers {
  readonly forMs: number;
  readonly most: number;
}

export interface AnswerCacheOptions<T> {
  readonly clock: Clock;
  readonly good: KeptAnswers;
  readonly bad: KeptAnswers;
  /** Whether an answer belongs to the good ones (default: every value except undefined). */
  readonly isGood?: (answer: T) => boolean;
  /** How much longer an answer can be valid, in milliseconds (default: without end). */
  readonly validForMs?: (answer: T) => number;
  /** Default: Web Crypto's, which is never there at once. */
  readonly digest?: KeyedDigest | undefined;
}

interface Kept<T> {
  readonly answer: T;
  readonly untilMs: number;
}

/**
 * Remembers the answers of a slow authority for a short time. Anyone can cause bad answers, so they
 * have a table of their own and cannot push out the good ones. Errors are not kept. Concurrent
 * questions with the same key share one answer.
 */
export class AnswerCache<T> {
  readonly #options: AnswerCacheOptions<T>;
  // By a keyed digest of the question, because a question may hold a token; oldest first.
  readonly #good = new Map<string, Kept<T>>();
  readonly #bad = new Map<string, Kept<T>>();
  /** Questions that have no answer yet. */
  readonly #open = new Map<string, Promise<T>>();
  readonly #digest: KeyedDigest;

  constructor(options: AnswerCacheOptions<T>) {
    this.#options = options;
    this.#digest = options.digest ?? webKeyedDigest();
  }

  /** How many answers are kept, for tests and metrics. */
  get size(): number {
    return this.#good.size + this.#bad.size;
  }

  /**
   * The answer to a question. An answer that is kept is there at once if the digest is.
   *
   * @param question every part that the answer depends on. Parts never run together.
   * @param signal ends the wait of this caller only, with the signal's reason. The question goes on
   *   for the others.
   * @throws what `ask` throws
   */
  get(question: readonly string[], ask: () => Promise<T>, signal?: AbortSignal): MaybePromise<T> {
    const digest = this.#digest(textOf(question));
    return whenKnown(digest, (key) => this.#find(key, ask, signal));
  }

  /** Forgets all answers, for example because the rules have changed. */
  clear(): void {
    this.#good.clear();
    this.#bad.clear();
  }

  #find(digest: string, ask: () => Promise<T>, signal?: AbortSignal): MaybePromise<T> {
    signal?.throwIfAborted();
    const known = this.#good.get(digest) ?? this.#bad.get(digest);
    if (known !== undefined && known.untilMs > this.#options.clock.now()) return known.answer;
    let open = this.#open.get(digest);
    if (open === undefined) {
      open = this.#ask(digest, ask).finally(() => this.#open.delete(digest));
      // A caller that has left must not make an error unhandled.
      open.catch(() => {});
      this.#open.set(digest, open);
    }
    return signal === undefined ? open : unlessAborted(open, signal);
  }

  async #ask(digest: string, ask: () => Promise<T>): Promise<T> {
    const answer = await ask();
    const { clock, good, bad, isGood, validForMs } = this.#options;
    const belongsToGood = isGood === undefined ? answer !== undefined : isGood(answer);
    const [answers, { forMs, most }] = belongsToGood ? [this.#good, good] : [this.#bad, bad];
    const keptForMs = Math.min(forMs, validForMs?.(answer) ?? Infinity);
    this.#good.delete(digest);
    this.#bad.delete(digest);
    if (keptForMs <= 0) return answer;
    answers.set(digest, { answer, untilMs: clock.now() + keptForMs });
    if (answers.size > most) {
      const [oldest] = answers.keys();
      answers.delete(oldest!);
    }
    return answer;
  }
}

/** Differs for any two questions, also in UTF-8. */
function textOf(question: readonly string[]): string {
  let text = '';
  for (const part of question) text += `${part.length}:${part}`;
  // Lone surrogates would all have the same bytes. JSON escapes them, but takes longer.
  return text.isWellFormed() ? text : JSON.stringify(question);
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
