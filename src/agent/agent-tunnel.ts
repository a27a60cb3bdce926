import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { TunnelLimits } from '../tunnel/limits.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import {
  decodeAttach,
  decodeFailure,
  decodeGoAway,
  decodeWelcome,
  encodeMessage,
  protocolVersion,
} from '../tunnel/message.ts';
import { Session } from '../tunnel/session.ts';
import type { SlabPool } from '../tunnel/slab.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler, Target } from '../tunnel/stream-handler.ts';
import type { WindowBudget } from '../tunnel/window-budget.ts';

/** Dialers' sessions that one tunnel may carry; a broker that attaches more is in breach. */
const maxSessions = 10_000;

export interface AgentTunnelOptions {
  readonly clock: Clock;
  readonly limits: TunnelLimits;
  readonly pool: SlabPool;
  readonly budget: WindowBudget;
  readonly log: Logger;
  readonly software: string;
  /** A dialer opens a stream. */
  readonly accept: (target: Target, timeoutMs: number, stream: Stream) => StreamHandler;
  /** The broker has taken us in. */
  readonly onWelcome: (replica: string) => void;
  /** The broker goes away and asks to come back elsewhere, or here, after `retryAfterMs`. */
  readonly onGoAway: (retryAfterMs: number) => void;
  /** The tunnel is gone; every stream has been told. */
  readonly onClosed: (error: TunnelError | undefined) => void;
}

/** The agent's end of its tunnel: the sessions of all dialers, taken in turn when the link has room. */
export class AgentTunnel implements LinkOwner {
  readonly #link: AttachableLink;
  readonly #options: AgentTunnelOptions;
  readonly #sessions = new Map<number, Session>();
  /** Sessions with frames to send, in the order of their turns. */
  readonly #ready = new Set<Session>();

  constructor(link: AttachableLink, options: AgentTunnelOptions) {
    this.#link = link;
    this.#options = options;
    link.attach(this);
    const hello = { ...protocolVersion, software: options.software };
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  }

  get streamCount(): number {
    let count = 0;
    for (const session of this.#sessions.values()) count += session.streamCount;
    return count;
  }

  /** Asks the broker to send no new sessions here. */
  sendGoAway(deadlineMs: number): void {
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0 });
    this.#link.sendCopy(FrameType.goaway, 0, 0, goAway);
  }

  /** Resolves when no stream is open, or rejects with the signal's reason. */
  async idle(signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#sessions.values(), (session) => session.idle(signal)));
  }

  close(error?: TunnelError): void {
    this.#link.close(error);
  }

  onData(number: number, stream: number, bytes: Uint8Array): void {
    this.#sessions.get(number)?.onData(stream, bytes);
  }

  onFrame(type: FrameType, number: number, stream: number, payload: Uint8Array): void {
    switch (type) {
      case FrameType.attach:
        return this.#attach(number, payload);
      case FrameType.detach:
        return this.#detach(number, payload);
      default:
        if (number === 0) return this.#onLinkFrame(type, payload);
        // A session that has just been detached may still have frames on the way.
        this.#sessions.get(number)?.onFrame(type, stream, payload);
    }
  }

  pull(): void {
    const link = this.#link;
    while (link.room > 0) {
      const [session] = this.#ready;
      if (session === undefined) return;
      this.#ready.delete(session);
      if (session.pullFrame() && session.hasFrames) this.#ready.add(session);
    }
  }

  onClose(error: TunnelError | undefined): void {
    const lost = error ?? new TunnelError('link_lost', 'the broker closed the tunnel');
    for (const session of this.#sessions.values()) session.close(lost);
    this.#sessions.clear();
    this.#ready.clear();
    this.#options.onClosed(error);
  }

  #attach(number: number, payload: Uint8Array): void {
    const { dialer } = decodeAttach(payload);
    if (number === 0 || this.#sessions.has(number)) {
      throw new TunnelError('protocol_error', `ATTACH of session ${number}, which is taken`);
    }
    if (this.#sessions.size >= maxSessions) {
      throw new TunnelError('overloaded', `the broker attached more than ${maxSessions} sessions`);
    }
    const { log } = this.#options;
    const session = new Session({ ...this.#options, log: log.child({ session: number, dialer }) });
    this.#sessions.set(number, session);
    session.attach(this.#link, number, (now) => {
      this.#ready.add(session);
      this.#link.wake(now);
    });
    log.info('session attached', { session: number, dialer });
  }

  #detach(number: number, payload: Uint8Array): void {
    const { code, message } = decodeFailure(FrameType.detach, payload);
    const session = this.#sessions.get(number);
    if (session === undefined) return;
    this.#sessions.delete(number);
    this.#ready.delete(session);
    session.close(new TunnelError(code, message));
    this.#options.log.info('session detached', { session: number, code, why: message });
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.welcome:
        return this.#options.onWelcome(decodeWelcome(payload).replica);
      case FrameType.ping:
        return this.#link.sendCopy(FrameType.pong, 0, 0, payload);
      case FrameType.pong:
        return;
      case FrameType.goaway:
        return this.#options.onGoAway(decodeGoAway(payload).retryAfterMs);
      default:
        throw new TunnelError('protocol_error', `${frameName(type)} is not for an agent`);
    }
  }
}
