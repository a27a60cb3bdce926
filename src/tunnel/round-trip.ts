import { writeU32, readU32 } from './frame.ts';

/** How often a session that moves bytes measures, in milliseconds. */
const measureEveryMs = 200;

/**
 * A full link may drop a PING or PONG. Another PING is sent after this time without an answer, in
 * milliseconds.
 */
const lostAfterMs = 10_000;

/**
 * Limits how fast the estimate rises, because a queue that this end's own window filled is no
 * distance.
 */
const riseFactor = 1.1;
const riseMs = 0.1;

/**
 * The round trip time of a session, from PING and PONG: a minimum that follows a longer path
 * slowly. It is measured only while bytes move, so that an idle session stays silent and its broker
 * may sleep.
 */
export class RoundTrip {
  #estimateMs: number | undefined;
  #askedAtMs: number | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;
  #token = 0;

  /** The estimate in milliseconds; undefined until the first answer. */
  get ms(): number | undefined {
    return this.#estimateMs;
  }

  /** Whether a PING is due. */
  due(nowMs: number): boolean {
    const waitMs = this.#askedAtMs === undefined ? measureEveryMs : lostAfterMs;
    return nowMs - this.#lastMs >= waitMs;
  }

  /** Returns the payload of the PING that is sent now. */
  ask(nowMs: number): Uint8Array {
    this.#askedAtMs = this.#lastMs = nowMs;
    this.#token = (this.#token + 1) >>> 0;
    const payload = new Uint8Array(8);
    writeU32(payload, 4, this.#token);
    return payload;
  }

  /** A PONG arrived. It is ignored if it does not answer the last PING. */
  answer(payload: Uint8Array, nowMs: number): void {
    if (this.#askedAtMs === undefined || payload.length !== 8) return;
    if (readU32(payload, 4) !== this.#token) return;
    const sampleMs = nowMs - this.#askedAtMs;
    this.#askedAtMs = undefined;
    this.#estimateMs =
      this.#estimateMs === undefined
        ? sampleMs
        : Math.min(sampleMs, this.#estimateMs * riseFactor + riseMs);
  }

  /** The link changed, so that the last PING gets no answer. */
  forget(): void {
    this.#askedAtMs = undefined;
  }
}
