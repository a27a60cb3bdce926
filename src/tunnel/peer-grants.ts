import type { TunnelLimits } from './limits.ts';
import type { Stream } from './stream.ts';
import { WindowBudget } from './window-budget.ts';

/**
 * Counts what the other end of a session has granted and not acknowledged. This end must keep so
 * many bytes once users have written them, so the sum bounds the memory that a peer can take.
 */
export class PeerGrants {
  readonly #limits: TunnelLimits;
  readonly #budget: WindowBudget;
  readonly #bytes = new Map<Stream, number>();

  /** @param parent bounds the grants of all peers of this process */
  constructor(limits: TunnelLimits, parent: WindowBudget | undefined) {
    this.#limits = limits;
    // An honest peer grants its own budget, and leaves up to half of that unacknowledged.
    this.#budget = new WindowBudget(2 * limits.sessionBudgetBytes, parent);
  }

  /**
   * How far beyond the acknowledged bytes this end lets a peer grant; never less than the smallest
   * window.
   */
  maxKeptBytes(stream: Stream): number {
    const { minWindowBytes, maxWindowBytes } = this.#limits;
    const freeBytes = this.#budget.freeBytes + (this.#bytes.get(stream) ?? 0);
    return Math.min(maxWindowBytes, Math.max(minWindowBytes, freeBytes));
  }

  /**
   * Counts the stream again, after a frame that changed its limit or acknowledged bytes, or after
   * its end.
   */
  update(stream: Stream): void {
    const before = this.#bytes.get(stream) ?? 0;
    const bytes = stream.isEnded ? 0 : stream.sending.grantedBytes;
    if (bytes === before) return;
    this.#budget.take(bytes - before);
    if (bytes === 0) this.#bytes.delete(stream);
    else this.#bytes.set(stream, bytes);
  }
}
