import type { Clock, Timer } from '../base/clock.ts';
import type { Secret } from '../base/secret.ts';
import type { Dialer } from '../dialer/dialer.ts';

/** A dialer that shows one token to the broker. */
export interface TokenDialer extends Pick<Dialer, 'open'> {
  /** Streams that are open or being opened. */
  readonly streamCount: number;
  /** Ends all streams and links. */
  close(): void;
}

/** Makes a dialer for a token that nobody has verified yet. */
export type MakeTokenDialer = (token: Secret) => TokenDialer;

/** The most dialers at a time. Each has one link per cluster. */
const maxDialers = 256;
/**
 * How long a dialer is used for new streams, in milliseconds. The next one shows the token again,
 * so that an expired token loses its rights.
 */
const maxAgeMs = 300_000;
/** How often dialers without streams are closed, in milliseconds. */
const sweepEveryMs = 60_000;

interface Entry {
  readonly dialer: TokenDialer;
  readonly madeAtMs: number;
}

/**
 * The dialers of clients that show tokens, one for each token. A dialer without streams is closed
 * after a while, or earlier when another token needs its room.
 */
export class TokenDialers implements Disposable {
  readonly #make: MakeTokenDialer;
  readonly #clock: Clock;
  /** By token, the one that was used last at the end. */
  readonly #current = new Map<string, Entry>();
  /** Dialers that are too old for new streams. */
  readonly #retired = new Set<TokenDialer>();
  #timer: Timer | undefined;

  constructor(make: MakeTokenDialer, clock: Clock) {
    this.#make = make;
    this.#clock = clock;
  }

  /** The dialer of a token; undefined: all dialers are in use by other tokens. */
  get(token: Secret): Pick<Dialer, 'open'> | undefined {
    const key = token.reveal();
    const found = this.#current.get(key);
    this.#current.delete(key);
    if (found !== undefined && this.#clock.now() - found.madeAtMs < maxAgeMs) {
      this.#current.set(key, found);
      return found.dialer;
    }
    if (found !== undefined) this.#retired.add(found.dialer);
    if (this.#current.size + this.#retired.size >= maxDialers && !this.#makeRoom()) {
      return undefined;
    }
    const dialer = this.#make(token);
    this.#current.set(key, { dialer, madeAtMs: this.#clock.now() });
    this.#timer ??= this.#clock.setTimer(sweepEveryMs, this.#onTimer);
    return dialer;
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    for (const dialer of this.#retired) dialer.close();
    for (const { dialer } of this.#current.values()) dialer.close();
    this.#retired.clear();
    this.#current.clear();
  }

  /** Closes the dialer without streams that was used least recently. Returns whether there was one. */
  #makeRoom(): boolean {
    this.#closeRetired();
    if (this.#current.size + this.#retired.size < maxDialers) return true;
    for (const [key, { dialer }] of this.#current) {
      if (dialer.streamCount > 0) continue;
      this.#current.delete(key);
      dialer.close();
      return true;
    }
    return false;
  }

  #closeRetired(): void {
    for (const dialer of this.#retired) {
      if (dialer.streamCount > 0) continue;
      this.#retired.delete(dialer);
      dialer.close();
    }
  }

  readonly #onTimer = (): void => {
    for (const [key, { dialer }] of this.#current) {
      if (dialer.streamCount > 0) continue;
      this.#current.delete(key);
      dialer.close();
    }
    this.#closeRetired();
    const isEmpty = this.#current.size + this.#retired.size === 0;
    this.#timer = isEmpty ? undefined : this.#clock.setTimer(sweepEveryMs, this.#onTimer);
  };
}
