import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { atEndOfTurn, type TurnTask } from '../base/end-of-turn.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { Opcode } from './message-header.ts';
import type { WebSocketRole } from './message-parser.ts';
import { MessageWriter } from './message-writer.ts';
import { SocketOutput, type OutputOwner } from './socket-output.ts';

/** What a link takes before it asks its owner to stop, queued or given to the socket within one turn. */
const highWaterBytes = 256 * 1024;
const flushBytes = 64 * 1024;

/** The link that a sender belongs to. */
export interface SenderOwner {
  /** Whether the owner of the link can be asked for frames. */
  readonly canPull: boolean;
  /** Asks the owner of the link for frames. Must not throw. */
  pullFrames(): void;
  /** The socket had to wait, and has taken everything now. */
  onDrained(): void;
}

/**
 * The sending half of a link: writes messages, asks for frames when there is room, and gives the socket one batch per turn of the
 * event loop or when 64 KiB are together.
 */
export class LinkSender implements OutputOwner, TurnTask {
  readonly #owner: SenderOwner;
  readonly #output: SocketOutput;
  readonly #writer: MessageWriter;
  #wantsPull = false;
  #isPulling = false;
  #isTurnPlanned = false;
  /** Bytes that the socket took at once in this turn. They count against `room`, so that one link cannot hog a turn. */
  #turnBytes = 0;

  constructor(socket: Socket, role: WebSocketRole, owner: SenderOwner) {
    this.#owner = owner;
    this.#output = new SocketOutput(socket, this);
    this.#writer = new MessageWriter(this.#output, role, socket instanceof TLSSocket);
  }

  get frames(): number {
    return this.#writer.frames;
  }

  get bytes(): number {
    return this.#writer.bytes;
  }

  get room(): number {
    return highWaterBytes - this.#output.queuedBytes - this.#turnBytes;
  }

  /** Bytes wait that have not left the process. */
  get hasQueued(): boolean {
    return this.#output.queuedBytes > 0;
  }

  /** Copies a frame, which has its header already. */
  frame(bytes: Uint8Array, start: number, end: number): void {
    this.#writer.frame(bytes, start, end);
    this.#frameWritten();
  }

  /** Copies a frame whose header is not written yet. */
  frameOf(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#writer.frameOf(type, session, stream, payload);
    this.#frameWritten();
  }

  /** Copies a message that is no frame. */
  control(opcode: Opcode, payload: Uint8Array): void {
    this.#writer.control(opcode, payload);
    this.#planTurn();
  }

  /** Frames wait for the link; see `Link.wake`. */
  wake(now: boolean): void {
    this.#wantsPull = true;
    if (now && !this.#isPulling && this.room > 0) this.#pull();
    else this.#planTurn();
  }

  /** @param more the turn brings more, so that an incomplete TLS record may wait for it */
  flush(more = false): void {
    const takenBytes = this.#output.flush(more);
    if (takenBytes > 0) {
      this.#turnBytes += takenBytes;
      this.#planTurn();
    }
  }

  /** The socket is closed: frees all memory. */
  destroy(): void {
    this.#output.destroy();
  }

  endTurn(): void {
    this.#isTurnPlanned = false;
    this.#turnBytes = 0;
    this.#pullIfWanted();
    this.flush();
    this.#output.rest();
  }

  onTaken(): void {
    this.flush(this.#wantsPull);
    this.#pullIfWanted();
    this.flush();
    if (!this.hasQueued) this.#owner.onDrained();
    if (!this.#isTurnPlanned) this.#output.rest();
  }

  #frameWritten(): void {
    if (this.#output.waitingBytes >= flushBytes) this.flush(true);
    // An owner that fills the link is asked again when there is room, so that it need not wake the link.
    if (this.room <= 0) this.#wantsPull = true;
    this.#planTurn();
  }

  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    atEndOfTurn(this);
  }

  #pullIfWanted(): void {
    if (this.#wantsPull && this.room > 0) this.#pull();
  }

  #pull(): void {
    if (!this.#owner.canPull) return;
    this.#wantsPull = false;
    this.#isPulling = true;
    this.#owner.pullFrames();
    this.#isPulling = false;
  }
}
