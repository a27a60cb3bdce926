import type { Logger } from '../base/log/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { AttachableLink } from '../tunnel/link.ts';
import { protocolVersion, type GoAway, type Hello, type Welcome } from '../tunnel/message.ts';
import type { SessionOptions } from '../tunnel/session-options.ts';
import { Session } from '../tunnel/session.ts';
import type { SessionLink } from './session-link.ts';
import type { Attachment, Loss, SessionState } from './session-state.ts';
import { sessionWaits } from './session-waits.ts';
import { LinkAttempts } from './link-attempts.ts';

export interface ClusterSessionOptions extends Omit<
  SessionOptions,
  'accept' | 'onBroken' | 'onMoved' | 'onResumed'
> {
  /** Makes a link to a broker; rejects with the reason. */
  readonly connect: (signal: AbortSignal) => Promise<AttachableLink>;
  /** The name and version of this program, for HELLO. */
  readonly software: string;
  /** What HELLO of a new session asks of the agent (default: nothing). */
  readonly criteria?: (() => Pick<Hello, 'zone' | 'excludedAgents'>) | undefined;
  /** A broker has accepted the session for an agent. */
  readonly onAttached?: ((welcome: Welcome) => void) | undefined;
  /** The session continues on another link: streams waited `gapMs`, `resentBytes` go out again. */
  readonly onResumed: (gapMs: number, resentBytes: number) => void;
  /** The session has ended, and its streams have been told. */
  readonly onClosed: (session: ClusterSession) => void;
}

/** The agent's process that has the session, as HELLO names it. */
type AgentProcess = Required<Pick<Hello, 'resume'>> & Pick<Hello, 'instance'>;

/**
 * A dialer's session with one agent of a cluster. It outlives the links to brokers that carry it.
 * When a link is lost, the session makes another one, to any replica, and the streams continue
 * where they were.
 */
export class ClusterSession {
  readonly session: Session;
  readonly #options: ClusterSessionOptions;
  readonly #log: Logger;
  readonly #links: LinkAttempts;
  readonly #startedMs: number;
  #state: SessionState = { kind: 'connecting' };
  #id = randomName();
  #process: AgentProcess | undefined;
  /** Takes no new streams, and ends with its last stream. */
  #isRetired = false;
  /**
   * When the streams began to wait: at the loss of a link, or the move to one. Undefined: the agent
   * has said SYNC since.
   */
  #waitingSinceMs: number | undefined;

  constructor(options: ClusterSessionOptions) {
    const { clock, connect, criteria, log, software } = options;
    this.#options = options;
    this.#log = log;
    this.#startedMs = clock.now();
    this.session = new Session({
      ...options,
      onBroken: (error) => this.#onBroken(error),
      onMoved: () => this.#onMoved(),
      onResumed: (resentBytes) => this.#onResumed(resentBytes),
    });
    this.#links = new LinkAttempts({
      connect,
      clock,
      session: this.session,
      hello: () => ({
        ...{ ...protocolVersion, software, session: this.#id },
        ...(this.#process ?? criteria?.()),
      }),
      onWelcome: (welcome, link) => this.#onWelcome(welcome, link),
      onFailed: (error) => this.#onAttemptFailed(error),
      onLinkClosed: (error, link) => this.#onLinkClosed(error, link),
      onGoAway: (goAway) => this.#onGoAway(goAway),
    });
    this.#links.start();
  }

  /** New streams belong in another session: this one has no link, or its broker or agent leaves. */
  get isRetired(): boolean {
    const { kind } = this.#state;
    return this.#isRetired || (kind !== 'connecting' && kind !== 'attached');
  }

  get isAttached(): boolean {
    return this.#state.kind === 'attached';
  }

  /** Ends the session now. Idempotent. */
  close(error: TunnelError): void {
    this.#end(error);
  }

  /** Takes no more streams. The session ends with its last one. Idempotent. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#whenIdle(() => this.close(new TunnelError('cancelled', 'the session has retired')));
  }

  /** Calls `then` once no stream is left. The end of the session counts as well. */
  #whenIdle(then: () => void): void {
    void this.session.idle(new AbortController().signal).then(then);
  }

  #onWelcome(welcome: Welcome, link: SessionLink): void {
    const old = this.#state;
    const isResumed = this.#process !== undefined;
    const { agent, instance, replica, session } = welcome;
    this.#process = instance === undefined ? { resume: agent } : { resume: agent, instance };
    this.#enter({ kind: 'attached', link, isResumed });
    if (isResumed) this.#waitingSinceMs ??= this.#options.clock.now();
    this.session.limitWindows(welcome.maxWindow ?? Infinity);
    this.session.attach(link.link, session, (now) => link.link.wake(now), isResumed);
    if (old.kind === 'moving') {
      old.link.leave(new TunnelError('draining', 'the session has moved to another link'));
    }
    this.#log.info('session attached', { replica, session, agent, again: isResumed });
    this.#options.onAttached?.(welcome);
  }

  /** The agent has said what it has. Only now do streams continue. */
  #onResumed(resentBytes: number): void {
    const { clock, onResumed } = this.#options;
    const gapMs = clock.now() - (this.#waitingSinceMs ?? clock.now());
    this.#waitingSinceMs = undefined;
    onResumed(gapMs, resentBytes);
    this.#log.info('session resumed', { gapMs: Math.round(gapMs), resentBytes });
  }

  #onGoAway({ deadlineMs, scope }: GoAway): void {
    this.#log.info('session is asked to leave', { scope, deadlineMs });
    if (scope === 'agent' || this.session.streamCount === 0) return this.retire();
    if (this.#state.kind !== 'attached') return;
    // The broker goes away and the agent stays. The session moves while the link still works, or
    // ends when nothing is left to move.
    this.#enter({ ...this.#state, kind: 'moving' });
    this.#whenIdle(() => {
      if (this.#state.kind !== 'moving') return;
      this.close(new TunnelError('cancelled', 'the session ended before it moved'));
    });
    this.#links.startLater();
  }

  #onBroken(error: TunnelError): void {
    if ('link' in this.#state) this.#state.link.leave(error);
    this.#end(error);
  }

  /** The agent has the session on another link: one that is being made, or a late one. */
  #onMoved(): void {
    if (!('link' in this.#state)) return;
    const { link } = this.#state;
    const error = new TunnelError('link_lost', 'the agent has the session on another link');
    link.leave(error);
    this.#onLinkClosed(error, link);
  }

  #onLinkClosed(error: TunnelError, link: SessionLink): void {
    const state = this.#state;
    if ('link' in state && state.link === link) this.#onLost(state, error);
  }

  #onLost({ isResumed }: Attachment, error: TunnelError): void {
    this.session.detach();
    // `overloaded` as the first answer means that the agent is full. Later it means that our
    // backlog was too large: resume.
    const isFull = error.code === 'overloaded' && !isResumed && this.session.unanswered;
    if (isFull || !isResumable(error.code)) return this.#onRefused(error, isResumed);
    if (this.session.streamCount === 0) return this.#end(error);
    const { clock, limits } = this.#options;
    const graceMs = error.code === 'agent_lost' ? sessionWaits.agentGraceMs : limits.resumeGraceMs;
    this.#waitingSinceMs ??= clock.now();
    this.#recover({ error, atMs: clock.now(), isResumed, isOverdue: false }, graceMs);
    this.#log.warn('session lost its link', { code: error.code, error: error.message, graceMs });
    this.#links.startLater();
  }

  /**
   * Ends the session if it has no link `graceMs` after it lost the last one. Only an answer of a
   * broker shows that the agent is away. So an attempt that has no answer by then decides, because
   * the dialer's own network may be the one that is dead.
   */
  #recover(loss: Omit<Loss, 'giveUpTimer'>, graceMs: number): void {
    const { clock, limits } = this.#options;
    const { resumeGraceMs } = limits;
    const giveUpTimer = clock.setTimer(loss.atMs + graceMs - clock.now(), () => {
      if (this.#links.isAttempting && graceMs < resumeGraceMs) {
        this.#recover({ ...loss, isOverdue: true }, resumeGraceMs);
      } else {
        this.#giveUp(loss);
      }
    });
    this.#enter({ ...loss, kind: 'recovering', giveUpTimer });
  }

  #giveUp({ error, atMs }: Omit<Loss, 'giveUpTimer'>): void {
    const waitedMs = Math.round(this.#options.clock.now() - atMs);
    const sentence = `${error.message}; no way back to the agent within ${waitedMs} ms`;
    this.#end(new TunnelError(error.code, sentence, { cause: error }));
  }

  #onAttemptFailed(error: TunnelError): void {
    const state = this.#state;
    switch (state.kind) {
      case 'connecting':
        if (!this.#mayWait(error)) return this.#end(error);
        if (error.code === 'agent_lost') return this.#startOver(error);
        break;
      case 'recovering': {
        if (!isResumable(error.code) && error.code !== 'no_agent') {
          return this.#onRefused(error, state.isResumed);
        }
        if (error.code !== 'agent_lost') {
          // While no broker takes sessions, a live agent cannot be back either.
          if (error.code !== 'no_agent') {
            this.#recover({ ...state, isOverdue: false }, this.#options.limits.resumeGraceMs);
          } else if (state.isOverdue) this.#giveUp(state);
          break;
        }
        // The broker says that other agents are connected while ours is not. A long wait helps no
        // client.
        if (this.session.unanswered && this.session.streamCount > 0) return this.#startOver(error);
        this.session.failUnanswered(error);
        if (state.error.code === 'agent_lost') {
          this.#recover(state, sessionWaits.otherAgentGraceMs);
        }
        break;
      }
      // While it moves, a session keeps the link that it has.
      case 'moving':
      case 'attached':
      case 'closed':
        break;
    }
    if (this.#state.kind === 'closed') return;
    this.#log.debug('session not resumed yet', { code: error.code, error: error.message });
    const isAgentAway = state.kind === 'recovering' && error.code === 'agent_lost';
    this.#links.startLater(isAgentAway ? sessionWaits.agentRetryCapMs : undefined);
  }

  /** Whether to try again for a first link: the error is not final, and a stream waits. */
  #mayWait({ code }: TunnelError): boolean {
    const waitedMs = this.#options.clock.now() - this.#startedMs;
    return isResumable(code) && this.session.streamCount > 0 && waitedMs < sessionWaits.firstLinkMs;
  }

  /**
   * The agent does not take the session, or does not have it any more.
   *
   * @param isResumed the agent had the session when the last link was made
   */
  #onRefused(error: TunnelError, isResumed: boolean): void {
    if (error.code !== 'unknown_session') return this.#end(error);
    if (!isResumed || !this.session.unanswered) {
      // An agent without the session has left or was restarted, and its connections to targets are
      // gone.
      const sentence = `the agent is gone: ${error.message}`;
      return this.#end(new TunnelError('agent_lost', sentence, { cause: error }));
    }
    if (this.session.streamCount === 0) return this.#end(error);
    this.#startOver(error);
  }

  /**
   * Starts the session again under another name. The agent may never have heard of it, if the link
   * was lost right after WELCOME. No stream was answered, so no byte is lost.
   */
  #startOver(error: TunnelError): void {
    this.#log.info('session starts over', { code: error.code, error: error.message });
    this.#enter({ kind: 'connecting' });
    this.#waitingSinceMs = undefined;
    this.#process = undefined;
    this.#id = randomName();
    this.#links.start();
  }

  #end(error: TunnelError): void {
    const state = this.#state;
    if (state.kind === 'closed') return;
    this.#enter({ kind: 'closed' });
    this.#links.stop(error);
    this.session.close(error);
    if ('link' in state) state.link.link.close();
    this.#options.onClosed(this);
  }

  #enter(state: SessionState): void {
    if (this.#state.kind === 'recovering') this.#state.giveUpTimer.cancel();
    this.#state = state;
  }
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
