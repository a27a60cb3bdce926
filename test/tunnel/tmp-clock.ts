import type { Clock, Timer } from '../../src/base/clock.ts';
interface Entry { atMs: number; order: number; fire: () => void; cancelled: boolean }
export class VirtualClock implements Clock {
  #nowMs = 0; #order = 0; #entries: Entry[] = [];
  now() { return this.#nowMs; }
  setTimer(delayMs: number, fire: () => void): Timer {
    const e = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire, cancelled: false };
    let i = this.#entries.length;
    while (i > 0 && this.#entries[i-1]!.atMs > e.atMs) i--;
    this.#entries.splice(i, 0, e);
    return { cancel() { e.cancelled = true; } };
  }
  async #step() { const e = this.#entries.shift()!; if (e.cancelled) return; this.#nowMs = e.atMs; e.fire(); await null; await null; await null; }
  async runUntilIdle() { await null; await null; while (this.#entries.length > 0) await this.#step(); }
  async advance(ms: number) { await null; await null; const until = this.#nowMs + ms; while (this.#entries.length > 0 && this.#entries[0]!.atMs <= until) await this.#step(); this.#nowMs = until; }
}
