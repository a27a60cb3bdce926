import type { Logger } from '../base/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../tunnel/link.ts';
import {
  decodeGoAway,
  decodeWelcome,
  encodeMessage,
  protocolVersion,
  type Hello,
} from '../tunnel/message.ts';
import { Session, type SessionOptions } from '../tunnel/session.ts';

export interface ClusterSessionOptions extends Omit<SessionOptions, 'accept'> {
  /** What HELLO says about us. */
  readonly software: string;
  /** The session is over; streams have been told. */
  readonly onClosed: (session: ClusterSession) => void;
}

/** A dialer's session with one agent of a cluster, and the link to the broker that carries it. */
export class ClusterSession implements LinkOwner {
  readonly session: Session;
  readonly #options: ClusterSessionOptions;
  readonly #log: Logger;
  #link: AttachableLink | undefined;
  #number = 0;
  #retired = false;
  #closed = false;

  constructor(options: ClusterSessionOptions) {
    this.#options = options;
    this.#log = options.log;
    this.session = new Session(options);
  }

  /** The broker or the agent goes away: streams go on, new ones belong elsewhere. */
  get retired(): boolean {
    return this.#retired || this.#closed;
  }

  /** Streams may be opened before there is a link; they wait for it. */
  start(link: AttachableLink): void {
    if (this.#closed) return link.close();
    this.#link = link;
    link.attach(this);
    const hello: Hello = { ...protocolVersion, software: this.#options.software };
    link.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
  }

  /** Ends the session now. Idempotent. */
  close(error: TunnelError): void {
    this.#end(error);
    this.#link?.close();
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    this.#own(session);
    this.session.onData(stream, bytes);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (session === 0) return this.#onLinkFrame(type, payload);
    this.#own(session);
    this.session.onFrame(type, stream, payload);
  }

  pull(): void {
    const link = this.#link!;
    while (link.room > 0 && this.session.pullFrame());
  }

  onClose(error: TunnelError | undefined): void {
    this.#end(error ?? new TunnelError('link_lost', 'the broker closed the link'));
  }

  #own(session: number): void {
    if (this.#number !== 0 && session === this.#number) return;
    throw new TunnelError('unknown_session', `session ${session} is not ours`);
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    const link = this.#link!;
    switch (type) {
      case FrameType.welcome: {
        const welcome = decodeWelcome(payload);
        this.#number = welcome.session;
        this.session.attach(link, welcome.session, (now) => link.wake(now));
        this.#log.debug('session attached', { session: welcome.session, agent: welcome.agent });
        return;
      }
      case FrameType.ping:
        return link.sendCopy(FrameType.pong, 0, 0, payload);
      case FrameType.pong:
        return;
      case FrameType.goaway: {
        const { deadlineMs } = decodeGoAway(payload);
        this.#log.info('session retires', { session: this.#number, deadlineMs });
        this.#retire();
        return;
      }
      default:
        throw new TunnelError('protocol_error', `${frameName(type)} is not for a dialer`);
    }
  }

  #retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    const never = new AbortController().signal;
    // The link's end settles this as well: it ends every stream.
    void this.session.idle(never).then(() => this.#link?.close());
  }

  #end(error: TunnelError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.session.close(error);
    this.#options.onClosed(this);
  }
}
