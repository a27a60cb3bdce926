/**
 * Calls that wait until the client's HTTP/2 has read everything that was sent before. A PING asks
 * for that (RFC 9113, section 6.7), and one PING at a time answers all calls that came before it.
 */
export class RoundTrips {
  readonly #sendPing: () => void;
  /** The calls that the PING in flight answers. Empty: no PING is in flight. */
  #waiting: (() => void)[] = [];
  /** The calls that came after this PING. */
  #next: (() => void)[] = [];

  constructor(sendPing: () => void) {
    this.#sendPing = sendPing;
  }

  add(onAnswered: () => void): void {
    if (this.#waiting.length > 0) {
      this.#next.push(onAnswered);
    } else {
      this.#waiting.push(onAnswered);
      this.#sendPing();
    }
  }

  /** The client has answered a PING. An answer without a PING has no effect. */
  answered(): void {
    const done = this.#waiting;
    this.#waiting = this.#next;
    this.#next = [];
    if (this.#waiting.length > 0) this.#sendPing();
    for (const onAnswered of done) onAnswered();
  }
}
