import { writeU32, readU32 } from './frame.ts';

/** How often a session that moves bytes measures, in milliseconds. */
const measureEveryMs = 200;

/** A PING or PONG may be dropped on a full link: after so long without an answer another PING goes out, in milliseconds. */
const lostAfterMs = 10_000;

/** How fast the estimate may rise: a queue that the own window filled must not look like distance. */
const riseFactor = 1.1;
const riseMs = 0.1;

/**
 * The round trip of a session, end to end, from PING and PONG: a minimum that follows a longer path slowly. Measured only
 * while bytes move, so an idle session stays silent and its broker may sleep.
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

  /** Whether a PING should go out now. */
  due(nowMs: number): boolean {
    const waitMs = this.#askedAtMs === undefined ? measureEveryMs : lostAfterMs;
    return nowMs - this.#lastMs >= waitMs;
  }

  /** The payload of the PING that goes out now. */
  ask(nowMs: number): Uint8Array {
    this.#askedAtMs = this.#lastMs = nowMs;
    this.#token = (this.#token + 1) >>> 0;
    const payload = new Uint8Array(8);
    writeU32(payload, 4, this.#token);
    return payload;
  }

  /** A PONG arrived; one that answers no question of ours is ignored. */
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

  /** The link changed: what was asked will not be answered. */
  forget(): void {
    this.#askedAtMs = undefined;
  }
}
