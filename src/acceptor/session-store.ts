import type { Clock, Timer } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import type { Logger } from '../base/log/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import type { Attach } from '../tunnel/message.ts';
import type { SessionOptions } from '../tunnel/session-options.ts';
import type { Session } from '../tunnel/session.ts';

/**
 * Sessions that an acceptor keeps, with or without a link. A broker that attaches more breaks the
 * protocol.
 */
const maxSessions = 10_000;
/**
 * One dialer gets at most this share of the sessions that others leave free. A session that was left
 * lives for `resumeGraceMs`, so a dialer that connects again and again could use up all.
 */
const shareOfFree = 0.5;

/** The tunnel that carries a session at the moment. */
export interface SessionCarrier {
  readonly link: Link;
  /** How large windows may grow through its broker, in bytes. */
  readonly maxWindowBytes: number;
  /**
   * The session has moved to another tunnel, and frames with this number no longer belong to it.
   */
  release(number: number): void;
  /** The session has ended for a reason that its dialer must learn. */
  refuse(number: number, error: TunnelError): void;
  /** The session has frames to send. */
  wake(session: Session, now: boolean): void;
}

/** A session, its dialer, and the tunnel that carries it. */
export interface AcceptedSession {
  readonly id: string;
  /** The dialer's name as the broker authenticated it. Only this dialer may resume the session. */
  readonly dialer: string;
  /** The broker knows the dialer as a gateway. */
  readonly isGateway: boolean;
  readonly session: Session;
  carrier: SessionCarrier | undefined;
  number: number;
  graceTimer: Timer | undefined;
}

export interface SessionStoreOptions {
  readonly makeSession: (
    log: Logger,
    events: Required<Pick<SessionOptions, 'onBroken' | 'onResumed'>>,
    isGateway: boolean,
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
  readonly #countByDialer = new Map<string, number>();
  readonly #isDetached = new Condition(() => !this.#isCarried);
  resumedCount = 0;

  constructor(options: SessionStoreOptions) {
    this.#options = options;
  }

  get streamCount(): number {
    let count = 0;
    for (const { session } of this.#byId.values()) count += session.streamCount;
    return count;
  }

  get #isCarried(): boolean {
    for (const { carrier } of this.#byId.values()) if (carrier !== undefined) return true;
    return false;
  }

  get size(): number {
    return this.#byId.size;
  }

  /**
   * Attaches a dialer's session to a tunnel: a new session, or one that lost its link.
   *
   * @throws TunnelError `unknown_session`, `forbidden` or `overloaded` if it is refused
   */
  attach(carrier: SessionCarrier, number: number, attach: Attach): AcceptedSession {
    const entry = this.#find(number, attach);
    if (entry.carrier !== undefined) {
      // The old link is dead or dies soon. If it is alive, because this ATTACH is late, the dialer
      // attaches again.
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

  /** Takes the session off its link. It waits for another one, unless the reason is final. */
  detach(entry: AcceptedSession, reason: TunnelError): void {
    entry.carrier = undefined;
    entry.session.detach();
    this.#options.log.info('session detached', {
      session: entry.number,
      streams: entry.session.streamCount,
      code: reason.code,
      error: reason.message,
    });
    const { clock, resumeGraceMs } = this.#options;
    // A session without streams waits as well, because the dialer may have a stream whose OPEN was
    // lost.
    if (!isResumable(reason.code)) return this.#end(entry, reason);
    this.#isDetached.changed();
    entry.graceTimer = clock.setTimer(resumeGraceMs, () => {
      const sentence = `no link came back within ${resumeGraceMs} ms`;
      this.#end(entry, new TunnelError('link_lost', sentence, { cause: reason }));
    });
  }

  /**
   * Resolves when no tunnel carries a session any more, when `atMostMs` have passed, or when the
   * signal aborts.
   */
  async untilDetached(atMostMs: number, signal: AbortSignal): Promise<void> {
    const limit = new AbortController();
    const timer = this.#options.clock.setTimer(atMostMs, () => limit.abort());
    await this.#isDetached.wait(AbortSignal.any([signal, limit.signal]));
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
    const { dialer, session: id } = attach;
    this.#checkShare(dialer);
    const log = this.#options.log.child({ dialer });
    const events = {
      onBroken: (error: TunnelError) => this.#onBroken(entry, error),
      onResumed: (resentBytes: number) =>
        log.info('session resumed', { session: entry.number, resentBytes }),
    };
    const isGateway = attach.gateway === true;
    const entry: AcceptedSession = {
      id,
      dialer,
      isGateway,
      session: this.#options.makeSession(log, events, isGateway),
      carrier: undefined,
      number: 0,
      graceTimer: undefined,
    };
    this.#byId.set(id, entry);
    this.#count(dialer, 1);
    return entry;
  }

  #checkShare(dialer: string): void {
    const own = this.#countByDialer.get(dialer) ?? 0;
    const free = maxSessions - (this.#byId.size - own);
    if (own < free * shareOfFree) return;
    const limit = `its share of the ${maxSessions} sessions that the agent holds at most`;
    throw new TunnelError('overloaded', `${dialer} has ${own} sessions with the agent, ${limit}`);
  }

  #count(dialer: string, change: number): void {
    const count = (this.#countByDialer.get(dialer) ?? 0) + change;
    if (count === 0) this.#countByDialer.delete(dialer);
    else this.#countByDialer.set(dialer, count);
  }

  #resumable(found: AcceptedSession | undefined, { dialer, gateway }: Attach): AcceptedSession {
    if (found === undefined) {
      throw new TunnelError('unknown_session', 'this agent does not have the session');
    }
    // A session keeps its role, so another dialer of the same name cannot gain it.
    if (found.dialer !== dialer || found.isGateway !== (gateway === true)) {
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
    if (this.#byId.delete(entry.id)) this.#count(entry.dialer, -1);
    this.#isDetached.changed();
    entry.session.close(error);
  }
}
