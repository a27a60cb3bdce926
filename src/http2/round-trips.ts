/**
 * Calls that wait until the client's HTTP/2 has read everything that was sent before. A PING asks
 * for that (RFC 9113, section 6.7), and one PING at a time answers all calls that came before it.
 */
export class RoundTrips {
  readonly #sendPing: () => void;
  #isAsked = false;
  /** The calls that the PING in flight answers. */
  #waiting = new Set<() => void>();
  /** The calls that came after this PING. */
  #next = new Set<() => void>();

  constructor(sendPing: () => void) {
    this.#sendPing = sendPing;
  }

  add(onAnswered: () => void): void {
    if (this.#isAsked) {
      this.#next.add(onAnswered);
    } else {
      this.#waiting.add(onAnswered);
      this.#ask();
    }
  }

  /** Nobody waits for the answer any more. Clients need not answer. Idempotent. */
  delete(onAnswered: () => void): void {
    this.#waiting.delete(onAnswered);
    this.#next.delete(onAnswered);
  }

  /** The client has answered a PING. An answer without a PING has no effect. */
  answered(): void {
    const done = this.#waiting;
    this.#waiting = this.#next;
    this.#next = new Set();
    this.#isAsked = false;
    if (this.#waiting.size > 0) this.#ask();
    for (const onAnswered of done) onAnswered();
  }

  #ask(): void {
    this.#isAsked = true;
    this.#sendPing();
  }
}
