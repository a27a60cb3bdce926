import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import type { Attach } from '../tunnel/message.ts';
import type { SessionOptions } from '../tunnel/session-options.ts';
import type { Session } from '../tunnel/session.ts';

/** Sessions that an agent keeps, with a link or waiting for one; a broker that attaches more is in breach. */
const maxSessions = 10_000;

/** The tunnel that carries a session at the moment. */
export interface SessionCarrier {
  readonly link: Link;
  /** How large windows may grow through its broker, in bytes. */
  readonly maxWindowBytes: number;
  /** The session has gone to another tunnel: frames with this number are no longer its. */
  release(number: number): void;
  /** The session has ended for a reason that its dialer must hear. */
  refuse(number: number, error: TunnelError): void;
  /** The session has frames to send. */
  wake(session: Session, now: boolean): void;
}

/** A session, who made it, and where it is attached. */
export interface AcceptedSession {
  readonly id: string;
  /** As the broker authenticated it: nobody else may resume the session. */
  readonly dialer: string;
  readonly session: Session;
  carrier: SessionCarrier | undefined;
  number: number;
  graceTimer: Timer | undefined;
}

export interface SessionStoreOptions {
  readonly makeSession: (
    log: Logger,
    events: Required<Pick<SessionOptions, 'onBroken' | 'onResumed'>>,
  ) => Session;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long a session without a link lives, in milliseconds. */
  readonly resumeGraceMs: number;
}

/** The sessions of all dialers with this agent. They outlive the tunnels that carry them. */
export class SessionStore {
  readonly #options: SessionStoreOptions;
  readonly #byId = new Map<string, AcceptedSession>();
  readonly #onLeft = new Set<() => void>();
  resumedCount = 0;

  constructor(options: SessionStoreOptions) {
    this.#options = options;
  }

  get streamCount(): number {
    let count = 0;
    for (const { session } of this.#byId.values()) count += session.streamCount;
    return count;
  }

  get size(): number {
    return this.#byId.size;
  }

  /**
   * A dialer's session appears on a tunnel: a new one, or one that lost its link.
   *
   * @throws TunnelError `unknown_session`, `forbidden` or `overloaded` when it cannot be taken
   */
  attach(carrier: SessionCarrier, number: number, attach: Attach): AcceptedSession {
    const entry = this.#find(number, attach);
    if (entry.carrier !== undefined) {
      // That link is dead, or about to be; where it is not, because this ATTACH comes late, the dialer comes again.
      entry.session.leave();
      entry.carrier.release(entry.number);
    }
    entry.graceTimer?.cancel();
    entry.graceTimer = undefined;
    entry.carrier = carrier;
    entry.number = number;
    const { session } = entry;
    session.limitWindows(carrier.maxWindowBytes);
    session.attach(carrier.link, number, (now) => carrier.wake(session, now), attach.resume);
    const { dialer } = entry;
    this.#options.log.info('session attached', {
      session: number,
      dialer,
      streams: session.streamCount,
      again: attach.resume,
    });
    return entry;
  }

  /** The session has no link any more; it waits for another, unless the reason is final. */
  detach(entry: AcceptedSession, why: TunnelError): void {
    entry.carrier = undefined;
    entry.session.detach();
    this.#options.log.info('session detached', {
      session: entry.number,
      streams: entry.session.streamCount,
      code: why.code,
      error: why.message,
    });
    const { clock, resumeGraceMs } = this.#options;
    // Also without streams: the dialer may have one whose OPEN got lost.
    if (!isResumable(why.code)) return this.#end(entry, why);
    for (const look of this.#onLeft) look();
    entry.graceTimer = clock.setTimer(resumeGraceMs, () => {
      const sentence = `no link came back within ${resumeGraceMs} ms`;
      this.#end(entry, new TunnelError('link_lost', sentence, { cause: why }));
    });
  }

  /** Resolves when no tunnel carries a session any more, when `atMostMs` are over, or when the signal aborts. */
  async left(atMostMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      const isCarried = Array.from(this.#byId.values()).some(({ carrier }) => carrier);
      if (!isCarried || signal.aborted) resolve();
    };
    const timer = this.#options.clock.setTimer(atMostMs, resolve);
    signal.addEventListener('abort', look, { once: true });
    this.#onLeft.add(look);
    look();
    await promise;
    this.#onLeft.delete(look);
    signal.removeEventListener('abort', look);
    timer.cancel();
  }

  /** Resolves when no stream is open, or rejects with the signal's reason. */
  async idle(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#byId.values(), ({ session }) => session.idle(signal)));
  }

  /** Ends every session with `error`. Idempotent. */
  close(error: TunnelError): void {
    for (const entry of this.#byId.values()) this.#end(entry, error);
  }

  #find(number: number, attach: Attach): AcceptedSession {
    const found = this.#byId.get(attach.session);
    try {
      return attach.resume ? this.#resumable(found, attach) : this.#create(found, attach);
    } catch (thrown) {
      const { code, message } = TunnelError.from(thrown);
      const { dialer } = attach;
      this.#options.log.warn('session refused', { session: number, dialer, code, error: message });
      throw thrown;
    }
  }

  #create(found: AcceptedSession | undefined, attach: Attach): AcceptedSession {
    if (found !== undefined) {
      throw new TunnelError('unknown_session', 'a new session has the name of an old one');
    }
    if (this.#byId.size >= maxSessions) {
      throw new TunnelError('overloaded', `the agent holds ${maxSessions} sessions, its limit`);
    }
    const { dialer, session: id } = attach;
    const log = this.#options.log.child({ dialer });
    const events = {
      onBroken: (error: TunnelError) => this.#onBroken(entry, error),
      onResumed: (resentBytes: number) =>
        log.info('session resumed', { session: entry.number, resentBytes }),
    };
    const entry: AcceptedSession = {
      id,
      dialer,
      session: this.#options.makeSession(log, events),
      carrier: undefined,
      number: 0,
      graceTimer: undefined,
    };
    this.#byId.set(id, entry);
    return entry;
  }

  #resumable(found: AcceptedSession | undefined, { dialer }: Attach): AcceptedSession {
    if (found === undefined) {
      throw new TunnelError('unknown_session', 'this agent does not have the session');
    }
    if (found.dialer !== dialer) {
      throw new TunnelError('forbidden', `the session is not ${dialer}'s to resume`);
    }
    this.resumedCount++;
    return found;
  }

  #onBroken(entry: AcceptedSession, error: TunnelError): void {
    entry.carrier?.refuse(entry.number, error);
    entry.carrier = undefined;
    this.#end(entry, error);
  }

  #end(entry: AcceptedSession, error: TunnelError): void {
    entry.graceTimer?.cancel();
    entry.graceTimer = undefined;
    this.#byId.delete(entry.id);
    for (const look of this.#onLeft) look();
    entry.session.close(error);
  }
}
