import type { Link } from '../tunnel/link.ts';

/** Why a link is not read: its frames have no room on their way, or it dials too fast. */
export type PauseReason = 'no_room' | 'dial_rate';

/** Pauses a link for several reasons, and resumes it when none is left. */
export class ReadingPauses {
  readonly #link: Link;
  readonly #reasons = new Set<PauseReason>();

  constructor(link: Link) {
    this.#link = link;
  }

  /** Idempotent. */
  begin(reason: PauseReason): void {
    this.#reasons.add(reason);
    this.#link.pause();
  }

  /** Idempotent. */
  end(reason: PauseReason): void {
    this.#reasons.delete(reason);
    if (this.#reasons.size === 0) this.#link.resume();
  }
}
