import { maxDataBytes } from './slab.ts';
import type { Stream } from './stream.ts';

/** A stream with at most this many unsent bytes is sent before streams with more. */
const smallBytes = 16 * 1024;

/** So many bytes of small streams go ahead of one frame of another stream that waits. */
const maxAheadBytes = maxDataBytes;

/** What a group of weight 1 may send in its turn, in bytes. */
const quantumBytes = 16 * 1024;

/** A group owes at most this for bytes of its small streams, which were sent out of turn. */
const maxDebtBytes = 256 * 1024;

/** So many groups without waiting streams are remembered. */
const maxIdleGroups = 1_000;

/** Streams that share one turn. */
class Group {
  weight = 1;
  readonly waiting: Stream[] = [];
  isInTurns = false;
  /** What the group may still send in this turn, in bytes. Negative: it has sent too much. */
  leftBytes = 0;
}

/**
 * The streams of a session with bytes to send, in the order in which they are sent.
 *
 * Streams with few bytes go first, because a person or a request waits for them. They cannot starve
 * the others: after 64 KiB of them, a frame of another stream is sent.
 *
 * The others take turns by group (`StreamShare`): each group sends in proportion to its weight, no
 * matter how many streams it has. This is deficit round robin (Shreedhar and Varghese, 1995).
 * Streams of a group take turns frame by frame. Streams without a share are one group.
 */
export class DataQueue {
  readonly #small: Stream[] = [];
  /** Groups in the order of their turns. The first one may have no waiting streams any more. */
  readonly #turns: Group[] = [];
  /** Streams that wait in their groups. */
  #groupedCount = 0;
  readonly #ungrouped = new Group();
  readonly #groups = new Map<number, Group>();
  /** The stream that `next` returned last was a small one. */
  #isSmall = false;
  /** Bytes of small streams since the last frame of another stream. */
  #aheadBytes = 0;

  get isEmpty(): boolean {
    return this.#small.length === 0 && this.#groupedCount === 0;
  }

  /** The stream must not be in the queue. */
  add(stream: Stream): void {
    if (stream.sending.unsentBytes <= smallBytes) this.#small.push(stream);
    else this.#addToGroup(stream);
  }

  /** Removes and returns the stream whose turn it is. `sent` follows. */
  next(): Stream | undefined {
    while (this.#small.length > 0 && (this.#aheadBytes < maxAheadBytes || !this.#groupedCount)) {
      const stream = this.#small.shift()!;
      if (stream.sending.unsentBytes <= smallBytes) {
        this.#isSmall = true;
        return stream;
      }
      // More was written while it waited.
      this.#addToGroup(stream);
    }
    return this.#groupedCount === 0 ? undefined : this.#nextOfGroups();
  }

  /** So many bytes of `stream` were sent, which `next` has just returned. */
  sent(stream: Stream, bytes: number): void {
    const group = this.#groupOf(stream);
    group.leftBytes = Math.max(group.leftBytes - bytes, -maxDebtBytes);
    if (this.#isSmall && this.#groupedCount > 0) this.#aheadBytes += bytes;
  }

  clear(): void {
    this.#small.length = 0;
    this.#turns.length = 0;
    this.#groupedCount = 0;
    this.#groups.clear();
  }

  #addToGroup(stream: Stream): void {
    const group = this.#groupOf(stream);
    group.waiting.push(stream);
    this.#groupedCount++;
    if (group.isInTurns) return;
    group.isInTurns = true;
    this.#turns.push(group);
  }

  #nextOfGroups(): Stream {
    for (;;) {
      const group = this.#turns[0]!;
      if (group.waiting.length === 0) {
        this.#turns.shift();
        group.isInTurns = false;
        group.leftBytes = Math.min(group.leftBytes, 0);
      } else if (group.leftBytes > 0) {
        this.#isSmall = false;
        this.#aheadBytes = 0;
        this.#groupedCount--;
        return group.waiting.shift()!;
      } else {
        group.leftBytes += quantumBytes * group.weight;
        if (this.#turns.length > 1) this.#turns.push(this.#turns.shift()!);
      }
    }
  }

  #groupOf({ sending: { share } }: Stream): Group {
    if (share === undefined) return this.#ungrouped;
    let group = this.#groups.get(share.group);
    if (group === undefined) {
      if (this.#groups.size >= maxIdleGroups) this.#forgetIdleGroups();
      group = new Group();
      this.#groups.set(share.group, group);
    }
    group.weight = share.weight;
    return group;
  }

  #forgetIdleGroups(): void {
    for (const [number, { isInTurns }] of this.#groups) {
      if (!isInTurns) this.#groups.delete(number);
    }
  }
}
