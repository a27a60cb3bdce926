import type { ControlWriter } from './control-writer.ts';
import { max31Bits } from './frame.ts';
import type { RoundTrips } from './round-trips.ts';
import type { StreamTable } from './stream-table.ts';

/**
 * The end of a connection that loses no stream: the first GOAWAY names no stream, and after the
 * answer to a PING the second GOAWAY names the last accepted stream (RFC 9113, section 6.8).
 */
export class ConnectionDrain {
  readonly #control: ControlWriter;
  readonly #roundTrips: RoundTrips;
  readonly #streams: StreamTable;
  readonly #onEnded: () => void;
  #state: 'no' | 'announced' | 'final' = 'no';

  /** @param onEnded the last accepted stream has ended */
  constructor(parts: {
    readonly control: ControlWriter;
    readonly roundTrips: RoundTrips;
    readonly streams: StreamTable;
    readonly onEnded: () => void;
  }) {
    this.#control = parts.control;
    this.#roundTrips = parts.roundTrips;
    this.#streams = parts.streams;
    this.#onEnded = parts.onEnded;
  }

  /** New streams are not accepted. */
  get isFinal(): boolean {
    return this.#state === 'final';
  }

  /** Idempotent. */
  begin(): void {
    if (this.#state !== 'no') return;
    this.#state = 'announced';
    this.#control.goAway(max31Bits, 'NO_ERROR', 'draining');
    this.#roundTrips.add(() => this.finish());
  }

  /** Waits no longer for the answer of the client. Idempotent. */
  finish(): void {
    if (this.#state !== 'announced') return;
    this.#state = 'final';
    this.#control.goAway(this.#streams.lastId, 'NO_ERROR', 'draining');
    this.check();
  }

  /** A stream has ended. */
  check(): void {
    if (this.#state === 'final' && this.#streams.size === 0) this.#onEnded();
  }
}
