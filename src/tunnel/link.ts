import type { TunnelError } from './errors.ts';
import type { FrameType } from './frame.ts';
import type { Block } from './slab.ts';

/**
 * The seam between the protocol and whatever carries frames: a WebSocket on Node, one on the edge, or a function call
 * inside a process. The contract suite is test/contracts/link.contract.ts; every implementation passes it.
 *
 * Sending is pulled. The owner never pushes bulk into a link: it calls `wake`, and the link calls `LinkOwner.pull` when it has
 * room, at most once per turn of the event loop. So control frames and other streams always get ahead of bulk that waits.
 */
export interface Link {
  /** Where the other end is, for logs. */
  readonly peer: string;

  /**
   * Bytes that the link takes now without queueing more than it should; zero or less means: stop, `pull` will be called
   * when there is room again. Not a hard limit: a frame larger than the room is taken whole.
   */
  readonly room: number;

  /** Milliseconds since anything came from the other end; undefined where the transport cannot tell. */
  readonly silentMs?: number;

  /**
   * Sends the frame in `block`. The link either copies it before this returns, or retains the slab until it no longer needs the
   * bytes. After close: does nothing.
   */
  send(block: Block): void;

  /** Sends a frame whose payload is copied before this returns. After close: does nothing. */
  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void;

  /**
   * Says that the owner has something to send: `pull` follows, in this turn or at its end, as soon as there is room.
   * `now` asks for it before this returns where there is room, which keeps bulk from piling up within one turn.
   */
  wake(now?: boolean): void;

  /**
   * Stops reading, so that the other end's `room` runs out; a hint, frames already read still come, and a runtime that
   * cannot (the edge) ignores it. For links all of whose frames go to one place that is full. Idempotent.
   */
  pause(): void;

  /** Reads on after `pause`. Idempotent. */
  resume(): void;

  /**
   * Something that was due did not come. A transport that can asks its other end for a sign of life now, and closes with
   * `peer_unresponsive` when none comes within one interval of its pings.
   */
  probe?(): void;

  /**
   * Ends the link: frames already given are still sent, then the peer learns the code, then `onClose` is called with
   * this error (or none for an orderly end). Idempotent.
   */
  close(error?: TunnelError): void;
}

/** A link whose owner is still to be named, as every transport makes it; frames that came before are not lost. */
export interface AttachableLink extends Link {
  attach(owner: LinkOwner): void;
}

/** The upper end of a link: a session, or the broker's hub. Exceptions thrown from these are bugs and close the link. */
export interface LinkOwner {
  /**
   * A piece of the payload of a DATA frame, in order, never empty. `bytes` is borrowed: it is valid until this returns,
   * whoever needs it longer copies it. Where one frame ends and the next begins is not told: DATA is a byte stream.
   */
  onData(session: number, stream: number, bytes: Uint8Array): void;

  /** A whole frame of any other type; `payload` is borrowed. */
  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void;

  /** Send what you have, until `link.room` is used up. Called only while the link is open. */
  pull(): void;

  /** The link is gone, with the reason; called once, nothing follows. No error: the other end closed in order. */
  onClose(error: TunnelError | undefined): void;
}
