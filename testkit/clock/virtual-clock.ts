import type { Clock, Timer } from '../../src/base/clock.ts';

interface Pending {
  readonly dueMs: number;
  readonly order: number;
  readonly fire: () => void;
  /** True when the timer has fired or was cancelled. */
  done: boolean;
}

/** More timers than this in one `runUntilIdle` means that something sets them for ever. */
const maxTimers = 5_000_000;

/**
 * Time that passes only when a test advances it. Timers fire in the order of their time, then in
 * the order in which they were set. Microtasks run after each.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #orders = 0;
  /** A binary heap, the next timer first. */
  readonly #heap: Pending[] = [];
  readonly #cancelled = new WeakSet<Pending>();
  #live = 0;
  readonly #turns: number;

  /**
   * @param turns how long a chain of promises may be that runs to its end before the next timer
   * fires (default 1)
   */
  constructor(turns = 1) {
    this.#turns = turns;
  }

  now(): number {
    return this.#nowMs;
  }

  /** Timers that are set and have not fired. */
  get pendingTimers(): number {
    return this.#live;
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    let pending = this.#set(delayMs, fire);
    return {
      cancel: () => this.#cancel(pending),
      restart: () => {
        this.#cancel(pending);
        pending = this.#set(delayMs, fire);
      },
    };
  }

  /** Lets `byMs` milliseconds pass, and fires what is due on the way. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await settled();
    for (
      let next = this.#next();
      next !== undefined && next.dueMs <= untilMs;
      next = this.#next()
    ) {
      this.#fire();
      for (let turn = 0; turn < this.#turns; turn++) await microtasks();
    }
    this.#nowMs = untilMs;
    await settled();
  }

  /**
   * As `advance`, in one go: promises that a timer settles are only looked at after the last one
   * has fired.
   */
  advanceSync(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (
      let next = this.#next();
      next !== undefined && next.dueMs <= untilMs;
      next = this.#next()
    ) {
      this.#fire();
    }
    this.#nowMs = untilMs;
  }

  /** Lets time pass until no timer is left. */
  async runUntilIdle(): Promise<void> {
    await settled();
    for (let fired = 0; this.#next() !== undefined; fired++) {
      if (fired === maxTimers) throw new Error(`still not idle after ${maxTimers} timers`);
      this.#fire();
      for (let turn = 0; turn < this.#turns; turn++) await microtasks();
      if (this.#next() === undefined) await settled();
    }
  }

  /**
   * Lets time pass until `promise` settles. @throws Error no timer is left that could bring it
   * about
   */
  async runUntil<T>(promise: Promise<T>): Promise<T> {
    const state = { done: false };
    const mark = () => (state.done = true);
    promise.then(mark, mark);
    await settled();
    while (!state.done) {
      if (this.#next() === undefined)
        throw new Error('idle, but what was waited for did not happen');
      this.#fire();
      await settled();
    }
    return promise;
  }

  #set(delayMs: number, fire: () => void): Pending {
    const dueMs = this.#nowMs + Math.max(0, delayMs);
    const pending = { dueMs, order: this.#orders++, fire, done: false };
    this.#push(pending);
    this.#live++;
    return pending;
  }

  #cancel(pending: Pending): void {
    this.#end(pending);
    this.#cancelled.add(pending);
  }

  #end(pending: Pending): void {
    if (!pending.done) this.#live--;
    pending.done = true;
  }

  #fire(): void {
    const next = this.#pop();
    this.#nowMs = next.dueMs;
    this.#end(next);
    next.fire();
  }

  #next(): Pending | undefined {
    while (this.#heap.length > 0 && this.#cancelled.has(this.#heap[0]!)) this.#pop();
    return this.#heap[0];
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.push(pending) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (before(heap[parent]!, pending)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = pending;
  }

  #pop(): Pending {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (before(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function before(a: Pending, b: Pending): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

function microtasks(): Promise<void> {
  return Promise.resolve();
}

/** Promise chains and immediates that are on their way have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
