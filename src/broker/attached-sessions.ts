import { isResumable, TunnelError } from '../tunnel/errors.ts';
import { FrameType } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import { decodeFailure, encodeFailure, encodeMessage, type GoAway } from '../tunnel/message.ts';
import type { ControlQueue } from './queued-control.ts';
import type { ReadingPauses } from './reading-pauses.ts';
import { relayLimits } from './relay-options.ts';

/** A dialer whose session a tunnel carries. */
export interface AttachedDialer extends ControlQueue {
  readonly dialer: string;
  readonly isGateway: boolean;
  readonly pauses: ReadingPauses;
  sendGoAway(deadlineMs: number, scope: GoAway['scope']): void;
}

// Most tunnels have no sessions and no paused dialers, so they share these until they need their
// own.
const noSessions = new Map<number, AttachedDialer>();
const nonePaused = new Set<AttachedDialer>();

/** The sessions that an agent's tunnel carries, by their numbers. */
export class AttachedSessions {
  readonly #link: Link;
  #dialers = noSessions;
  /** Dialers whose links are paused until the tunnel has room again. */
  #paused = nonePaused;

  /** @param link the agent's */
  constructor(link: Link) {
    this.#link = link;
  }

  get size(): number {
    return this.#dialers.size;
  }

  get(session: number): AttachedDialer | undefined {
    return this.#dialers.get(session);
  }

  /**
   * A dialer's session begins. The agent gets ATTACH before any frame of it.
   *
   * @returns the session's number
   */
  attach(dialer: AttachedDialer, id: string, resume: boolean): number {
    let session = 0;
    while (session === 0 || this.#dialers.has(session)) {
      session = crypto.getRandomValues(new Uint32Array(1))[0]!;
    }
    this.restore(dialer, session);
    const { dialer: name, isGateway } = dialer;
    const gateway = isGateway ? ({ gateway: true } as const) : {};
    const attach = encodeMessage({ dialer: name, session: id, resume, ...gateway });
    this.#tellAgent(FrameType.attach, session, attach);
    return session;
  }

  /** Takes back a session whose number both ends know. */
  restore(dialer: AttachedDialer, session: number): void {
    if (this.#dialers === noSessions) this.#dialers = new Map();
    this.#dialers.set(session, dialer);
  }

  /** The dialer ends its session. Idempotent. */
  detach(session: number, error: TunnelError | undefined): void {
    if (!this.#forget(session)) return;
    const reason = error ?? new TunnelError('cancelled', 'the dialer left');
    this.#tellAgent(FrameType.detach, session, encodeFailure(reason));
  }

  /** The agent refuses a session or ends it. */
  onDetach(session: number, dialer: AttachedDialer, payload: Uint8Array): void {
    const { code, message } = decodeFailure(FrameType.detach, payload);
    this.#forget(session);
    // The agent's answer is final, so a code that usually means "try again" is replaced.
    // `overloaded` may pass: from an agent with as many sessions as it may have, dialers take it as
    // final, too.
    const isRetried = isResumable(code) && code !== 'overloaded';
    dialer.link.close(new TunnelError(isRetried ? 'unknown_session' : code, message));
  }

  /**
   * Stops reading from a dialer until the tunnel has room, because all its frames go into this
   * tunnel.
   */
  pauseWhileFull(dialer: AttachedDialer): void {
    if (this.#link.room > 0) return;
    if (this.#paused.has(dialer)) return;
    if (this.#paused === nonePaused) this.#paused = new Set();
    this.#paused.add(dialer);
    dialer.pauses.begin('no_room');
    this.#link.wake();
  }

  /** The tunnel has room again. */
  resume(): void {
    for (const dialer of this.#paused) {
      this.#paused.delete(dialer);
      dialer.pauses.end('no_room');
    }
  }

  sendGoAway(deadlineMs: number, scope: GoAway['scope']): void {
    for (const dialer of this.#dialers.values()) dialer.sendGoAway(deadlineMs, scope);
  }

  /** The tunnel is gone. */
  close(error: TunnelError): void {
    for (const dialer of this.#dialers.values()) dialer.link.close(error);
    this.#dialers.clear();
    this.#paused.clear();
  }

  /** @returns whether the session was there */
  #forget(session: number): boolean {
    const dialer = this.#dialers.get(session);
    if (dialer === undefined) return false;
    this.#dialers.delete(session);
    this.#paused.delete(dialer);
    return true;
  }

  /**
   * Sends a frame that a dialer's coming or going causes. An agent that never reads such frames
   * loses its tunnel.
   */
  #tellAgent(type: FrameType, session: number, payload: Uint8Array): void {
    this.#link.sendCopy(type, session, 0, payload);
    const { maxBacklogBytes } = relayLimits;
    if (this.#link.room > -maxBacklogBytes) return;
    const sentence = `more than ${maxBacklogBytes} bytes wait for ${this.#link.peer}`;
    this.#link.close(new TunnelError('overloaded', sentence));
  }
}
