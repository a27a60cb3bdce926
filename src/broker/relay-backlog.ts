import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';

export interface RelayBacklogLimits {
  /** Bytes that may wait for one link beyond its room. */
  readonly maxBacklogBytes: number;
  /**
   * Bytes that may wait for all links together. Backlogs below `largeBacklogBytes` do not count.
   */
  readonly maxTotalBacklogBytes: number;
  readonly largeBacklogBytes: number;
}

/**
 * Limits the bytes that wait for peers that do not read. Credit limits each session, but a peer
 * with many sessions could make the broker hold more. The link with the largest backlog is closed
 * with `overloaded`, so its session may resume.
 */
export class RelayBacklog {
  readonly #limits: RelayBacklogLimits;
  /** Links that had a large backlog when they last got a frame. */
  readonly #large = new Set<Link>();
  #uncountedBytes = 0;

  constructor(limits: RelayBacklogLimits) {
    this.#limits = limits;
  }

  /**
   * A frame of `bytes` has been given to the link. The cost is one comparison while the link has no
   * large backlog.
   */
  given(link: Link, bytes: number): void {
    const { room } = link;
    const { largeBacklogBytes, maxBacklogBytes } = this.#limits;
    if (room > -largeBacklogBytes) return;
    if (room <= -maxBacklogBytes) {
      return close(link, `more than ${maxBacklogBytes} bytes wait for ${link.peer}`);
    }
    this.#large.add(link);
    this.#uncountedBytes += bytes;
    // Counting costs time, so it happens once per `largeBacklogBytes`.
    if (this.#uncountedBytes >= largeBacklogBytes) this.#count();
  }

  #count(): void {
    this.#uncountedBytes = 0;
    let totalBytes = 0;
    let largest: Link | undefined;
    for (const link of this.#large) {
      const backlogBytes = -link.room;
      if (backlogBytes < this.#limits.largeBacklogBytes) {
        this.#large.delete(link);
        continue;
      }
      totalBytes += backlogBytes;
      if (largest === undefined || link.room < largest.room) largest = link;
    }
    const { maxTotalBacklogBytes } = this.#limits;
    if (largest === undefined || totalBytes <= maxTotalBacklogBytes) return;
    this.#large.delete(largest);
    close(
      largest,
      `more than ${maxTotalBacklogBytes} bytes wait for all peers, most of them for ${largest.peer}`,
    );
  }
}

function close(link: Link, sentence: string): void {
  link.close(new TunnelError('overloaded', sentence));
}
