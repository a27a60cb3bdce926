import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import type { GoAway, Hello, Welcome } from '../tunnel/message.ts';
import type { Session } from '../tunnel/session.ts';
import { SessionLink } from './session-link.ts';
import { sessionWaits } from './session-waits.ts';

export interface LinkAttemptsOptions {
  /** Makes a link to a broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  readonly clock: Clock;
  readonly session: Session;
  /** The HELLO of the next attempt. */
  readonly hello: () => Hello;
  /** A broker has accepted the session on this link. */
  readonly onWelcome: (welcome: Welcome, link: SessionLink) => void;
  /** A link did not come about, or was closed before WELCOME. */
  readonly onFailed: (error: TunnelError) => void;
  /** A link that had its WELCOME is closed. */
  readonly onLinkClosed: (error: TunnelError, link: SessionLink) => void;
  readonly onGoAway: (goAway: GoAway) => void;
}

interface Attempt {
  readonly stop: AbortController;
  readonly timeout: Timer;
  link: SessionLink | undefined;
}

/** Makes links to brokers for one session: one attempt at a time, each until WELCOME. */
export class LinkAttempts {
  readonly #options: LinkAttemptsOptions;
  readonly #backoff = new Backoff(sessionWaits.retry);
  #attempt: Attempt | undefined;
  #retryTimer: Timer | undefined;

  constructor(options: LinkAttemptsOptions) {
    this.#options = options;
  }

  /** An attempt has no answer yet. */
  get isAttempting(): boolean {
    return this.#attempt !== undefined;
  }

  /** Starts an attempt, unless one is in progress. */
  start(): void {
    if (this.#attempt !== undefined) return;
    const { connect, clock } = this.#options;
    const stop = new AbortController();
    const timeout = clock.setTimer(sessionWaits.welcomeTimeoutMs, () => {
      const sentence = `no broker accepted the session within ${sessionWaits.welcomeTimeoutMs} ms`;
      this.#fail(attempt, new TunnelError('link_lost', sentence));
    });
    const attempt: Attempt = { stop, timeout, link: undefined };
    this.#attempt = attempt;
    connect(stop.signal)
      .then((link) => this.#greet(attempt, link))
      .catch((thrown: unknown) => this.#fail(attempt, TunnelError.from(thrown, 'link_lost')));
  }

  /** Starts an attempt after a delay, which grows until an attempt succeeds, up to `capMs`. */
  startLater(capMs: number = sessionWaits.retry.capMs): void {
    this.#retryTimer?.cancel();
    const delayMs = Math.min(capMs, this.#backoff.nextDelayMs());
    this.#retryTimer = this.#options.clock.setTimer(delayMs, () => this.start());
  }

  /** Ends the attempt in progress, and starts no other. Idempotent. */
  stop(error: TunnelError): void {
    this.#retryTimer?.cancel();
    this.#dropAttempt(error);
  }

  #greet(attempt: Attempt, link: AttachableLink): void {
    if (this.#attempt !== attempt) return link.close();
    const { session, hello, onGoAway } = this.#options;
    attempt.link = new SessionLink(link, session, hello(), {
      onWelcome: (welcome, made) => this.#onWelcome(welcome, made),
      onGoAway,
      onClosed: (error, closed) => this.#onClosed(error, closed),
    });
  }

  #onWelcome(welcome: Welcome, link: SessionLink): void {
    this.#attempt?.timeout.cancel();
    this.#attempt = undefined;
    this.#retryTimer?.cancel();
    this.#backoff.reset();
    this.#options.onWelcome(welcome, link);
  }

  #onClosed(error: TunnelError, link: SessionLink): void {
    const attempt = this.#attempt;
    if (attempt?.link === link) this.#fail(attempt, error);
    else this.#options.onLinkClosed(error, link);
  }

  #fail(attempt: Attempt, error: TunnelError): void {
    if (this.#attempt !== attempt) return;
    this.#dropAttempt(error);
    this.#options.onFailed(error);
  }

  #dropAttempt(reason: TunnelError): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.timeout.cancel();
    attempt?.stop.abort(reason);
    attempt?.link?.leave(reason);
  }
}
