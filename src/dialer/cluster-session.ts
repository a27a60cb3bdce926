import { Backoff } from '../base/backoff.ts';
import type { Timer } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { protocolVersion, type GoAway, type Welcome } from '../tunnel/message.ts';
import { Session, type SessionOptions } from '../tunnel/session.ts';
import { SessionLink } from './session-link.ts';

/**
 * An agent whose connection the system closed is back within moments, or its process is dead: then its targets are gone too
 * and waiting longer is in vain. In milliseconds.
 */
const agentGraceMs = 5_000;

/** Between attempts to get a lost session back, in milliseconds: a gap is noticed, so they are quick. */
const retry = { baseMs: 100, capMs: 1_000 };

export interface ClusterSessionOptions extends Omit<SessionOptions, 'accept' | 'onBroken'> {
  /** Makes a link to a broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  /** What HELLO says about us. */
  readonly software: string;
  /** The session took this long, in milliseconds, to go on over another link. */
  readonly onResumed: (gapMs: number) => void;
  /** The session is over; streams have been told. */
  readonly onClosed: (session: ClusterSession) => void;
}

/** A session that has lost its link and looks for another. */
interface Gap {
  readonly why: TunnelError;
  readonly sinceMs: number;
  readonly deadline: Timer;
}

/**
 * A dialer's session with one agent of a cluster. It outlives the links to brokers that carry it: when one is lost, another
 * is made, to any replica, and the streams go on where they were.
 */
export class ClusterSession {
  readonly session: Session;
  readonly #options: ClusterSessionOptions;
  readonly #log: Logger;
  readonly #id = randomName();
  readonly #backoff = new Backoff(retry);
  readonly #stopped = new AbortController();
  #agent: string | undefined;
  #current: SessionLink | undefined;
  #gap: Gap | undefined;
  #retryTimer: Timer | undefined;
  #retired = false;
  #closed = false;

  constructor(options: ClusterSessionOptions) {
    this.#options = options;
    this.#log = options.log;
    this.session = new Session({ ...options, onBroken: (error) => this.close(error) });
    this.#dial();
  }

  /** New streams belong in another session: this one waits for a link, or its agent goes away. */
  get retired(): boolean {
    return this.#retired || this.#closed || this.#gap !== undefined;
  }

  /** Ends the session now; no error: in order, the agent need not wait for it. Idempotent. */
  close(error: TunnelError): void {
    this.#end(error);
  }

  #dial(): void {
    const { connect, software } = this.#options;
    const hello = {
      ...protocolVersion,
      software,
      session: this.#id,
      ...(this.#agent === undefined ? {} : { resume: this.#agent }),
    };
    connect(this.#stopped.signal)
      .then((link) => {
        if (this.#closed) return link.close();
        void new SessionLink(link, this.session, hello, {
          onWelcome: (welcome, made) => this.#onWelcome(welcome, made),
          onGoAway: (goAway) => this.#onGoAway(goAway),
          onClosed: (error, lost) => this.#onLinkClosed(error, lost),
        });
        return undefined;
      })
      .catch((thrown: unknown) => this.#onAttemptFailed(TunnelError.from(thrown, 'link_lost')));
  }

  #onWelcome(welcome: Welcome, made: SessionLink): void {
    const resumed = this.#agent !== undefined;
    const old = this.#current;
    this.#agent = welcome.agent;
    this.#current = made;
    this.#backoff.reset();
    this.session.attach(made.link, welcome.session, (now) => made.link.wake(now), resumed);
    old?.leave();
    const gapMs = this.#gap === undefined ? 0 : this.#options.clock.now() - this.#gap.sinceMs;
    this.#gap?.deadline.cancel();
    this.#gap = undefined;
    if (resumed) this.#options.onResumed(gapMs);
    const { replica, session, agent } = welcome;
    this.#log.info(resumed ? 'session resumed' : 'session attached', {
      replica,
      session,
      agent,
      gapMs: Math.round(gapMs),
    });
  }

  #onGoAway({ deadlineMs, scope }: GoAway): void {
    this.#log.info('session is asked to leave', { scope, deadlineMs });
    if (scope === 'agent' || this.session.streamCount === 0) return this.#retire();
    // The broker goes, the agent stays: look for another way to it while this one still works.
    this.#retry();
  }

  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    const never = new AbortController().signal;
    // The session's end settles this as well: it ends every stream.
    void this.session
      .idle(never)
      .then(() => this.close(new TunnelError('cancelled', 'the session has retired')));
  }

  #onLinkClosed(error: TunnelError, lost: SessionLink): void {
    if (this.#closed) return;
    if (lost === this.#current) this.#onLost(error);
    else if (this.#current === undefined) this.#onAttemptFailed(error);
    else this.#retry();
  }

  #onLost(error: TunnelError): void {
    this.#current = undefined;
    this.session.detach();
    if (!isResumable(error.code) || this.session.streamCount === 0) {
      return this.#end(this.#reported(error));
    }
    const { clock, limits } = this.#options;
    const graceMs = error.code === 'agent_lost' ? agentGraceMs : limits.resumeGraceMs;
    const sinceMs = clock.now();
    const deadline = clock.setTimer(graceMs, () => {
      const sentence = `${error.message}; no way back to the agent within ${graceMs} ms`;
      this.#end(new TunnelError(error.code, sentence, { cause: error }));
    });
    this.#gap = { why: error, sinceMs, deadline };
    this.#log.warn('session lost its link', { code: error.code, why: error.message, graceMs });
    this.#retry();
  }

  /** A link did not come about, or was closed before WELCOME. */
  #onAttemptFailed(error: TunnelError): void {
    if (this.#closed) return;
    if (this.#agent === undefined) return this.#end(error);
    // While it moves, a session keeps the link that it has.
    if (this.#current === undefined && !isResumable(error.code) && error.code !== 'no_agent') {
      return this.#end(this.#reported(error));
    }
    this.#log.debug('session not resumed yet', { code: error.code, why: error.message });
    this.#retry();
  }

  /** An agent that does not have the session has left or was restarted, and took its targets along. */
  #reported(error: TunnelError): TunnelError {
    if (error.code !== 'unknown_session') return error;
    return new TunnelError('agent_lost', `the agent is gone: ${error.message}`, { cause: error });
  }

  #retry(): void {
    if (this.#closed) return;
    this.#retryTimer?.cancel();
    const delayMs = this.#backoff.nextDelayMs();
    this.#retryTimer = this.#options.clock.setTimer(delayMs, () => this.#dial());
  }

  #end(error: TunnelError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#gap?.deadline.cancel();
    this.#retryTimer?.cancel();
    this.#stopped.abort(error);
    this.session.close(error);
    this.#current?.link.close();
    this.#options.onClosed(this);
  }
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
