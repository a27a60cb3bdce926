import type { TunnelError } from '../tunnel/errors.ts';
import { FrameType } from '../tunnel/frame.ts';
import type { AttachableLink, Link, LinkOwner } from '../tunnel/link.ts';
import type { ReadingPauses } from './reading-pauses.ts';

/** The dialer's side of a forwarded session. */
export interface ForwardedDialer {
  readonly link: Link;
  readonly pauses: ReadingPauses;
  /** The link to the replica that holds the tunnel is gone. */
  onForwardClosed(error: TunnelError | undefined): void;
}

/** The relay, which counts and limits what is passed on. */
export interface FrameRelay {
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}

/**
 * The hop from the replica that a dialer reached to the replica that holds the agent's tunnel, its
 * owner. Frames pass unchanged in both directions, even their session numbers, because the owner
 * assigns these. Both links carry this session alone, so each is paused while the other is full.
 */
export class ForwardedConnection implements LinkOwner {
  readonly #relay: FrameRelay;
  readonly #owner: AttachableLink;
  readonly #dialer: ForwardedDialer;

  constructor(relay: FrameRelay, owner: AttachableLink, dialer: ForwardedDialer) {
    this.#relay = relay;
    this.#owner = owner;
    this.#dialer = dialer;
    owner.attach(this);
  }

  /** Passes on a frame from the dialer. */
  send(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#relay.relay(this.#owner, type, session, stream, payload);
    if (this.#owner.room > 0) return;
    this.#dialer.pauses.begin('no_room');
    this.#owner.wake();
  }

  /** The dialer's link has room again. */
  resume(): void {
    this.#owner.resume();
  }

  close(error: TunnelError | undefined): void {
    this.#owner.close(error);
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    this.#toDialer(FrameType.data, session, stream, bytes);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#toDialer(type, session, stream, payload);
  }

  pull(): void {
    this.#dialer.pauses.end('no_room');
  }

  onClose(error: TunnelError | undefined): void {
    this.#dialer.onForwardClosed(error);
  }

  #toDialer(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    const { link } = this.#dialer;
    this.#relay.relay(link, type, session, stream, payload);
    if (link.room > 0) return;
    this.#owner.pause();
    link.wake();
  }
}
