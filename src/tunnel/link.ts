import type { TunnelError } from './errors.ts';
import type { FrameType } from './frame.ts';
import type { Block } from './slab.ts';

/**
 * The interface between the protocol and a transport of frames: a WebSocket on Node or on the edge,
 * or function calls inside a process. Every implementation passes the contract suite in
 * test/contracts/link.contract.ts.
 *
 * Sending is pulled. The owner never pushes bulk data into a link: it calls `wake`, and the link
 * calls `LinkOwner.pull` when it has room, at most once per turn of the event loop. So control
 * frames and other streams get ahead of bulk data that waits.
 */
export interface Link {
  /** The address of the other end, for logs. */
  readonly peer: string;

  /**
   * The address of this end of the connection, `host:port`, as the other end sees it if nothing on
   * the way replaces it; undefined: the transport does not know.
   */
  readonly local?: string | undefined;

  /**
   * Bytes that the link takes now without queueing too much. At zero or less the owner stops, and
   * `pull` is called when there is room again. This is no hard limit: the link takes a frame that
   * is larger than the room.
   */
  readonly room: number;

  /** Milliseconds since bytes came from the other end; undefined if the transport does not know. */
  readonly silentMs?: number;

  /**
   * Sends the frame in `block`. The link either copies it before this returns, or retains the slab
   * until it no longer needs the bytes. After close: does nothing.
   */
  send(block: Block): void;

  /** Sends a frame whose payload is copied before this returns. After close: does nothing. */
  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void;

  /**
   * The owner has frames to send. `pull` follows as soon as there is room, in this turn or at its
   * end. With `now`, and room, it follows before this returns, so that bulk data does not pile up
   * within one turn.
   */
  wake(now?: boolean): void;

  /**
   * Stops reading, so that the other end's `room` is used up. It is for links whose frames all go
   * to one receiver, which is full. It is a hint: frames that were read already still come, and the
   * edge cannot stop reading. Idempotent.
   */
  pause(): void;

  /** Continues to read after `pause`. Idempotent. */
  resume(): void;

  /**
   * An answer is late. A transport that can do so pings its other end now, and closes with
   * `peer_unresponsive` when no bytes come within one interval of its pings.
   */
  probe?(): void;

  /**
   * Ends the link. It sends the frames that it was given, then tells the peer the code, and then
   * calls `onClose` with this error (or none for an orderly end). Idempotent.
   */
  close(error?: TunnelError): void;
}

/**
 * A link that has no owner yet, as every transport makes it. Frames that come before `attach` are
 * not lost.
 */
export interface AttachableLink extends Link {
  attach(owner: LinkOwner): void;
}

/**
 * The user of a link: a session, or the relay of a broker. An exception from these methods is a bug
 * and closes the link.
 */
export interface LinkOwner {
  /**
   * A piece of the payload of a DATA frame, in order, never empty. `bytes` is borrowed: it is valid
   * until this returns, and an owner that needs it longer copies it. The boundaries of frames are
   * lost, because DATA is a byte stream.
   */
  onData(session: number, stream: number, bytes: Uint8Array): void;

  /** A whole frame of any other type; `payload` is borrowed. */
  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void;

  /** Asks for frames, until `link.room` is used up. Called only while the link is open. */
  pull(): void;

  /**
   * The link is gone. Called once, and no other call follows. No error: the other end closed in
   * order.
   */
  onClose(error: TunnelError | undefined): void;
}
