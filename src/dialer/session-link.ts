import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import {
  decodeGoAway,
  decodeWelcome,
  encodeMessage,
  type GoAway,
  type Hello,
  type Welcome,
} from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { Session } from '../tunnel/session.ts';

export interface SessionLinkEvents {
  readonly onWelcome: (welcome: Welcome, link: SessionLink) => void;
  readonly onGoAway: (goAway: GoAway) => void;
  readonly onClosed: (error: TunnelError, link: SessionLink) => void;
}

/** One link of a dialer's session. It sends HELLO to the broker, and carries the session until it ends. */
export class SessionLink implements LinkOwner {
  readonly link: AttachableLink;
  readonly #session: Session;
  readonly #events: SessionLinkEvents;
  #number = 0;
  /** The ends that have said GOAWAY. A repeated GOAWAY of the broker or the agent is ignored. */
  readonly #goneAway = new Set<GoAway['scope']>();
  /** The session has left this link, and further frames are dropped. */
  #hasLeft = false;

  constructor(link: AttachableLink, session: Session, hello: Hello, events: SessionLinkEvents) {
    this.link = link;
    this.#session = session;
    this.#events = events;
    link.attach(this);
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  }

  /** Takes the session off this link. The code tells the broker whether the session lives on. Idempotent. */
  leave(error: TunnelError): void {
    this.#hasLeft = true;
    this.link.close(error);
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    if (this.#isOwn(session)) this.#session.onData(stream, bytes);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (session === 0) return this.#hasLeft ? undefined : this.#onLinkFrame(type, payload);
    if (this.#isOwn(session)) this.#session.onFrame(type, stream, payload);
  }

  pull(): void {
    while (!this.#hasLeft && this.link.room > 0 && this.#session.pullFrame());
  }

  onClose(error: TunnelError | undefined): void {
    this.#events.onClosed(
      error ?? new TunnelError('link_lost', 'the broker closed the link'),
      this,
    );
  }

  #isOwn(session: number): boolean {
    if (this.#hasLeft) return false;
    if (this.#number !== 0 && session === this.#number) return true;
    throw new TunnelError('unknown_session', `session ${session} is not ours`);
  }

  #onGoAway(goAway: GoAway): void {
    if (this.#goneAway.has(goAway.scope)) return;
    this.#goneAway.add(goAway.scope);
    this.#events.onGoAway(goAway);
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.welcome: {
        const welcome = decodeWelcome(payload);
        if (this.#number !== 0) throw new TunnelError('protocol_error', 'a second WELCOME');
        this.#number = welcome.session;
        return this.#events.onWelcome(welcome, this);
      }
      case FrameType.ping:
        return answerPing(this.link, payload);
      case FrameType.pong:
        return;
      case FrameType.goaway:
        return this.#onGoAway(decodeGoAway(payload));
      default:
        throw new TunnelError('protocol_error', `${frameName(type)} is not for a dialer`);
    }
  }
}
