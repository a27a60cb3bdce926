import { Condition } from '../base/condition.ts';
import type { Stream } from './stream.ts';

/** The open streams of a session, by number. A number is used once. */
export class StreamTable {
  /** No stream is open. */
  readonly isEmpty = new Condition(() => this.#streams.size === 0);
  readonly #streams = new Map<number, Stream>();
  #highestUsed = 0;
  /** Ended streams whose handlers do not know it yet. */
  #ended: Stream[] = [];

  get size(): number {
    return this.#streams.size;
  }

  get(number: number): Stream | undefined {
    return this.#streams.get(number);
  }

  [Symbol.iterator](): Iterator<Stream> {
    return this.#streams.values();
  }

  hasOnly(isSuch: (stream: Stream) => boolean): boolean {
    return this.#streams.values().every(isSuch);
  }

  /** Whether the number, or a higher one, was used before. */
  isUsed(number: number): boolean {
    return number <= this.#highestUsed;
  }

  use(number: number): void {
    this.#highestUsed = Math.max(this.#highestUsed, number);
  }

  add(stream: Stream): void {
    this.#streams.set(stream.number, stream);
  }

  /**
   * Calls `onClose` of the stream's handler after the present call, because handlers are never
   * called from inside a verb.
   */
  end(stream: Stream): void {
    this.#streams.delete(stream.number);
    if (this.#ended.push(stream) === 1) queueMicrotask(() => this.#closeHandlers());
  }

  #closeHandlers(): void {
    const ended = this.#ended;
    this.#ended = [];
    for (const stream of ended) stream.handler.onClose(stream.failure);
    this.isEmpty.changed();
  }
}
