import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName, readU32, writeU32 } from '../tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import {
  decodeAttach,
  decodeFailure,
  decodeGoAway,
  decodeWelcome,
  encodeFailure,
  encodeMessage,
  protocolVersion,
} from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { Session } from '../tunnel/session.ts';
import type { AcceptedSession, SessionCarrier, SessionStore } from './session-store.ts';

/** Bytes of refused sessions that may wait for the broker beyond the room of the link. */
const maxBacklogBytes = 4 * 1024 * 1024;

export interface AgentTunnelOptions {
  readonly software: string;
  /** The zone of the agent, which dialers of the same zone prefer (default: not known). */
  readonly zone?: string | undefined;
  readonly sessions: SessionStore;
  /** The broker has accepted the tunnel. */
  readonly onWelcome: (replica: string) => void;
  /** The broker goes away. The agent should connect again after `retryAfterMs`. */
  readonly onGoAway: (retryAfterMs: number) => void;
  /** The tunnel is gone, and its sessions wait for another one. */
  readonly onClosed: (error: TunnelError | undefined) => void;
}

/** The agent's end of one tunnel. Its sessions take turns when the link has room. */
export class AgentTunnel implements LinkOwner, SessionCarrier {
  readonly link: AttachableLink;
  readonly #options: AgentTunnelOptions;
  /** The bytes of a stream that the broker can hold. */
  maxWindowBytes = Infinity;
  /** Another tunnel has replaced this one, which closes when it carries no session. */
  #replaced = false;
  #welcomed = false;
  /** The broker has said GOAWAY. */
  #goingAway = false;
  #ended = false;
  /** The callbacks of probes without an answer, by the number of the PING. */
  readonly #onAnswers = new Map<number, () => void>();
  #asked = 0;
  readonly #attached = new Map<number, AcceptedSession>();
  /** Sessions with frames to send, in the order of their turns. */
  readonly #ready = new Set<Session>();

  constructor(link: AttachableLink, options: AgentTunnelOptions) {
    this.link = link;
    this.#options = options;
    link.attach(this);
    const { software, zone } = options;
    const hello = {
      ...protocolVersion,
      software,
      ...(zone === undefined ? {} : { zone }),
      ...(link.local === undefined ? {} : { source: link.local }),
    };
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  }

  /** The broker has accepted the tunnel, and it has not ended. */
  get isEstablished(): boolean {
    return this.#welcomed && !this.#ended;
  }

  /**
   * Asks the broker for an answer through the whole tunnel; `onAnswer` is called when it comes, if
   * it does.
   */
  probe(onAnswer: () => void): void {
    if (!this.isEstablished) return;
    const asked = ++this.#asked;
    this.#onAnswers.set(asked, onAnswer);
    const payload = new Uint8Array(8);
    writeU32(payload, 4, asked);
    this.link.sendCopy(FrameType.ping, 0, 0, payload);
  }

  /** Asks the broker to send no new sessions here. */
  sendGoAway(deadlineMs: number): void {
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0, scope: 'agent' });
    this.link.sendCopy(FrameType.goaway, 0, 0, goAway);
  }

  /** Closes the tunnel as soon as its sessions have moved to the tunnel that replaces it. */
  leaveWhenEmpty(): void {
    this.#replaced = true;
    if (this.#attached.size === 0) this.link.close();
  }

  /** Ends the tunnel and its sessions in order. Their dialers get the error. */
  leave(error: TunnelError): void {
    for (const number of this.#attached.keys()) this.refuse(number, error);
    this.link.close();
  }

  onData(number: number, stream: number, bytes: Uint8Array): void {
    this.#attached.get(number)?.session.onData(stream, bytes);
  }

  onFrame(type: FrameType, number: number, stream: number, payload: Uint8Array): void {
    switch (type) {
      case FrameType.attach:
        return this.#onAttach(number, payload);
      case FrameType.detach:
        return this.#onDetach(number, payload);
      default:
        if (number === 0) return this.#onLinkFrame(type, payload);
        // A session that has just been detached may still have frames on the way.
        this.#attached.get(number)?.session.onFrame(type, stream, payload);
    }
  }

  pull(): void {
    while (this.link.room > 0) {
      const [session] = this.#ready;
      if (session === undefined) return;
      this.#ready.delete(session);
      if (session.pullFrame() && session.hasFrames) this.#ready.add(session);
    }
  }

  onClose(error: TunnelError | undefined): void {
    const lost = new TunnelError('link_lost', 'the tunnel ended', { cause: error });
    for (const entry of this.#attached.values()) this.#options.sessions.detach(entry, lost);
    this.#attached.clear();
    this.#ready.clear();
    this.#ended = true;
    this.#onAnswers.clear();
    this.#options.onClosed(error);
  }

  release(number: number): void {
    const entry = this.#attached.get(number);
    if (entry === undefined) return;
    this.#attached.delete(number);
    this.#ready.delete(entry.session);
    if (this.#replaced && this.#attached.size === 0) this.link.close();
  }

  wake(session: Session, now: boolean): void {
    this.#ready.add(session);
    this.link.wake(now);
  }

  #onAttach(number: number, payload: Uint8Array): void {
    const attach = decodeAttach(payload);
    if (number === 0 || this.#attached.has(number)) {
      throw new TunnelError('protocol_error', `ATTACH of session ${number}, which is in use`);
    }
    try {
      this.#attached.set(number, this.#options.sessions.attach(this, number, attach));
    } catch (thrown) {
      this.refuse(number, TunnelError.from(thrown));
    }
  }

  #onDetach(number: number, payload: Uint8Array): void {
    const { code, message } = decodeFailure(FrameType.detach, payload);
    const entry = this.#attached.get(number);
    if (entry === undefined) return;
    this.release(number);
    this.#options.sessions.detach(entry, new TunnelError(code, message));
  }

  refuse(number: number, error: TunnelError): void {
    this.release(number);
    this.link.sendCopy(FrameType.detach, number, 0, encodeFailure(error));
    if (this.link.room > -maxBacklogBytes) return;
    // A broker that attaches sessions and does not read the refusals.
    const sentence = `more than ${maxBacklogBytes} bytes wait for the broker`;
    this.link.close(new TunnelError('overloaded', sentence));
  }

  #onPong(payload: Uint8Array): void {
    const asked = payload.length === 8 ? readU32(payload, 4) : 0;
    const onAnswer = this.#onAnswers.get(asked);
    this.#onAnswers.delete(asked);
    onAnswer?.();
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.welcome: {
        if (this.#welcomed) throw new TunnelError('protocol_error', 'a second WELCOME');
        const { replica, maxWindow = Infinity } = decodeWelcome(payload);
        this.maxWindowBytes = maxWindow;
        this.#welcomed = true;
        return this.#options.onWelcome(replica);
      }
      case FrameType.ping:
        return answerPing(this.link, payload);
      case FrameType.pong:
        return this.#onPong(payload);
      case FrameType.goaway: {
        const { retryAfterMs } = decodeGoAway(payload);
        if (this.#goingAway) return;
        this.#goingAway = true;
        return this.#options.onGoAway(retryAfterMs);
      }
      default:
        throw new TunnelError('protocol_error', `${frameName(type)} is not for an agent`);
    }
  }
}
