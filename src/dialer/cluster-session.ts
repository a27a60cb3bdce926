import { Backoff } from '../base/backoff.ts';
import type { Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { protocolVersion, type GoAway, type Hello, type Welcome } from '../tunnel/message.ts';
import type { SessionOptions } from '../tunnel/session-options.ts';
import { Session } from '../tunnel/session.ts';
import { SessionLink } from './session-link.ts';
import { sessionWaits } from './session-waits.ts';

export interface ClusterSessionOptions extends Omit<
  SessionOptions,
  'accept' | 'onBroken' | 'onMoved' | 'onResumed'
> {
  /** Makes a link to a broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  /** What HELLO says about us. */
  readonly software: string;
  /** The session goes on over another link; its streams stood still for `gapMs`, and `resentBytes` go out again. */
  readonly onResumed: (gapMs: number, resentBytes: number) => void;
  /** The session is over; streams have been told. */
  readonly onClosed: (session: ClusterSession) => void;
}

/** As HELLO names it. */
type AgentProcess = Required<Pick<Hello, 'resume'>> & Pick<Hello, 'instance'>;

/** A link on its way to WELCOME; there is one at a time. */
interface Attempt {
  readonly stop: AbortController;
  readonly timeout: Timer;
  link: SessionLink | undefined;
}

/**
 * A dialer's session with one agent of a cluster. It outlives the links to brokers that carry it: when one is lost, another
 * is made, to any replica, and the streams go on where they were.
 */
export class ClusterSession {
  readonly session: Session;
  readonly #options: ClusterSessionOptions;
  readonly #log: Logger;
  #id = randomName();
  readonly #backoff = new Backoff(sessionWaits.retry);
  readonly #startedMs: number;
  /** The agent's process that has the session. */
  #process: AgentProcess | undefined;
  #attempt: Attempt | undefined;
  #current: SessionLink | undefined;
  /** The agent was said to have the session already when the present link, or the last, was made. */
  #resumed = false;
  /** Runs while the session has lost its link and looks for another. */
  #giveUpTimer: Timer | undefined;
  /** How the present link was lost. */
  #lost: { readonly error: TunnelError; readonly atMs: number } | undefined;
  /** Since when its streams stand still, if they do: from the loss of a link, or the move to one, until the agent has said SYNC. */
  #stillSinceMs: number | undefined;
  #retryTimer: Timer | undefined;
  #retired = false;
  /** The broker of the present link goes away, and there is no other link yet. */
  #leaving = false;
  #closed = false;

  constructor(options: ClusterSessionOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#startedMs = options.clock.now();
    this.session = new Session({
      ...options,
      onBroken: (error) => this.#onBroken(error),
      onMoved: () => this.#onMoved(),
      onResumed: (resentBytes) => this.#onResumed(resentBytes),
    });
    this.#dial();
  }

  /** New streams belong in another session: this one waits for a link, or its agent goes away. */
  get retired(): boolean {
    return this.#retired || this.#leaving || this.#closed || this.#giveUpTimer !== undefined;
  }

  /** Ends the session now; no error: in order, the agent need not wait for it. Idempotent. */
  close(error: TunnelError): void {
    this.#end(error);
  }

  /** Takes no more streams: the session ends with its last one. Idempotent. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#whenIdle(() => this.close(new TunnelError('cancelled', 'the session has retired')));
  }

  /** Calls `then` once no stream is left; the session's end, which ends every stream, counts as well. */
  #whenIdle(then: () => void): void {
    void this.session.idle(new AbortController().signal).then(then);
  }

  #dial(): void {
    if (this.#attempt !== undefined) return;
    const { connect, clock, software } = this.#options;
    const hello = {
      ...protocolVersion,
      software,
      session: this.#id,
      ...this.#process,
    };
    const stop = new AbortController();
    const timeout = clock.setTimer(sessionWaits.welcomeTimeoutMs, () => {
      const sentence = `no broker took the session in within ${sessionWaits.welcomeTimeoutMs} ms`;
      this.#onAttemptFailed(attempt, new TunnelError('link_lost', sentence));
    });
    const attempt: Attempt = { stop, timeout, link: undefined };
    this.#attempt = attempt;
    connect(stop.signal)
      .then((link) => {
        if (this.#attempt !== attempt) return link.close();
        attempt.link = new SessionLink(link, this.session, hello, {
          onWelcome: (welcome, made) => this.#onWelcome(welcome, made),
          onGoAway: (goAway) => this.#onGoAway(goAway),
          onClosed: (error, lost) => this.#onLinkClosed(error, lost),
        });
        return undefined;
      })
      .catch((thrown: unknown) =>
        this.#onAttemptFailed(attempt, TunnelError.from(thrown, 'link_lost')),
      );
  }

  /** Ends the attempt that is under way, if any. */
  #dropAttempt(why: TunnelError): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.timeout.cancel();
    attempt?.stop.abort(why);
    attempt?.link?.leave(why);
  }

  #onWelcome(welcome: Welcome, made: SessionLink): void {
    const resumed = this.#process !== undefined;
    const old = this.#current;
    this.#attempt?.timeout.cancel();
    this.#attempt = undefined;
    this.#retryTimer?.cancel();
    const { agent: resume, instance } = welcome;
    this.#process = instance === undefined ? { resume } : { resume, instance };
    this.#current = made;
    this.#resumed = resumed;
    this.#leaving = false;
    this.#backoff.reset();
    if (resumed) this.#stillSinceMs ??= this.#options.clock.now();
    this.session.limitWindows(welcome.maxWindow ?? Infinity);
    this.session.attach(made.link, welcome.session, (now) => made.link.wake(now), resumed);
    old?.leave(new TunnelError('draining', 'the session has moved to another link'));
    this.#keepOn();
    const { replica, session, agent } = welcome;
    this.#log.info('session attached', { replica, session, agent, again: resumed });
  }

  /** The session need not be given up any more. */
  #keepOn(): void {
    this.#giveUpTimer?.cancel();
    this.#giveUpTimer = undefined;
    this.#lost = undefined;
  }

  /** The agent has said what it has: only now do streams go on. */
  #onResumed(resentBytes: number): void {
    const { clock, onResumed } = this.#options;
    const gapMs = clock.now() - (this.#stillSinceMs ?? clock.now());
    this.#stillSinceMs = undefined;
    onResumed(gapMs, resentBytes);
    this.#log.info('session resumed', { gapMs: Math.round(gapMs), resentBytes });
  }

  #onGoAway({ deadlineMs, scope }: GoAway): void {
    this.#log.info('session is asked to leave', { scope, deadlineMs });
    if (scope === 'agent' || this.session.streamCount === 0) return this.retire();
    // The broker goes, the agent stays: look for another way to it while this one still works, or until nothing is left to move.
    this.#leaving = true;
    this.#whenIdle(() => {
      if (this.#leaving)
        this.close(new TunnelError('cancelled', 'the session ended before it moved'));
    });
    this.#retry();
  }

  #onBroken(error: TunnelError): void {
    this.#current?.leave(error);
    this.#end(error);
  }

  /** The agent has the session elsewhere: on a link that is on its way here, or on one that was given up and came late. */
  #onMoved(): void {
    const why = new TunnelError('link_lost', 'the agent has the session on another link');
    this.#current?.leave(why);
    if (this.#current !== undefined) this.#onLost(why);
  }

  #onLinkClosed(error: TunnelError, lost: SessionLink): void {
    if (this.#closed) return;
    const attempt = this.#attempt;
    if (attempt?.link === lost) this.#onAttemptFailed(attempt, error);
    else if (lost === this.#current) this.#onLost(error);
  }

  #onLost(error: TunnelError): void {
    this.#current = undefined;
    this.session.detach();
    // An agent that takes no more sessions says so before anything else. Later the same code means a backlog, which one survives.
    const isFull = error.code === 'overloaded' && !this.#resumed && this.session.unanswered;
    if (isFull || !isResumable(error.code)) return this.#onRefused(error);
    if (this.session.streamCount === 0) return this.#end(error);
    const { clock, limits } = this.#options;
    const graceMs = error.code === 'agent_lost' ? sessionWaits.agentGraceMs : limits.resumeGraceMs;
    this.#stillSinceMs ??= clock.now();
    this.#lost = { error, atMs: clock.now() };
    this.#giveUpAfter(graceMs);
    this.#log.warn('session lost its link', { code: error.code, why: error.message, graceMs });
    this.#retry();
  }

  /** Ends the session when it has no link `graceMs` after it lost the last one. */
  #giveUpAfter(graceMs: number): void {
    const { clock } = this.#options;
    const { error, atMs } = this.#lost!;
    this.#giveUpTimer?.cancel();
    this.#giveUpTimer = clock.setTimer(atMs + graceMs - clock.now(), () => {
      const sentence = `${error.message}; no way back to the agent within ${graceMs} ms`;
      this.#end(new TunnelError(error.code, sentence, { cause: error }));
    });
  }

  /** A link did not come about, or was closed before WELCOME. */
  #onAttemptFailed(attempt: Attempt, error: TunnelError): void {
    if (this.#attempt !== attempt) return;
    this.#dropAttempt(error);
    if (this.#process === undefined && !this.#mayWait(error)) return this.#end(error);
    // While it moves, a session keeps the link that it has.
    const attached = this.#current !== undefined;
    if (!attached && !isResumable(error.code) && error.code !== 'no_agent') {
      return this.#onRefused(error);
    }
    // The broker says that other agents are there while ours is not: nobody gains from waiting long.
    if (!attached && error.code === 'agent_lost') {
      if (this.session.unanswered && this.session.streamCount > 0) return this.#beginAnew(error);
      this.session.failUnanswered(error);
      if (this.#lost?.error.code === 'agent_lost')
        this.#giveUpAfter(sessionWaits.otherAgentGraceMs);
    }
    this.#log.debug('session not resumed yet', { code: error.code, why: error.message });
    this.#retry();
  }

  /** Whether the first link may still come about: nobody has said no for good, and somebody waits. */
  #mayWait({ code }: TunnelError): boolean {
    const waitedMs = this.#options.clock.now() - this.#startedMs;
    return isResumable(code) && this.session.streamCount > 0 && waitedMs < sessionWaits.firstLinkMs;
  }

  /** There is no way back. */
  #onRefused(error: TunnelError): void {
    if (error.code !== 'unknown_session') return this.#end(error);
    if (!this.#resumed || !this.session.unanswered) {
      // An agent that does not have the session has left or was restarted, and took its targets along.
      const sentence = `the agent is gone: ${error.message}`;
      return this.#end(new TunnelError('agent_lost', sentence, { cause: error }));
    }
    if (this.session.streamCount === 0) return this.#end(error);
    this.#beginAnew(error);
  }

  /** The agent may never have heard of the session: the link was lost behind WELCOME. Nothing was answered, so nothing is lost. */
  #beginAnew(error: TunnelError): void {
    this.#log.info('session begins anew', { why: error.message });
    this.#keepOn();
    this.#stillSinceMs = undefined;
    this.#process = undefined;
    this.#id = randomName();
    this.#dial();
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
    this.#giveUpTimer?.cancel();
    this.#retryTimer?.cancel();
    this.#dropAttempt(error);
    this.session.close(error);
    this.#current?.link.close();
    this.#options.onClosed(this);
  }
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
