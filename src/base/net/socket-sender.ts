import type { Socket } from 'node:net';
import { sendAtEndOfTurn, type TurnTask } from '../end-of-turn.ts';
import { type OutputOwner, SocketOutput } from './socket-output.ts';

/** What a sender takes before it asks no more, queued or given to the socket within one turn. */
const highWaterBytes = 256 * 1024;
const flushBytes = 64 * 1024;

/** The protocol that sends through a `SocketSender`. */
export interface SenderOwner {
  /** Whether `pull` may be called. */
  readonly canPull: boolean;
  /** Asks the owner for bytes, while there is room. Must not throw. */
  pull(): void;
  /** Bytes may have left the process since the last call. */
  onFlushed?(): void;
  /** The socket had to wait, and has taken everything now. */
  onDrained(): void;
}

const noOwner: SenderOwner = { canPull: false, pull() {}, onDrained() {} };

/**
 * Sends what a protocol writes into `output`: asks for bytes when there is room, and gives the
 * socket one batch per turn of the event loop or when 64 KiB are together.
 */
export class SocketSender implements OutputOwner, TurnTask {
  /** The protocol copies its bytes in here and then calls `written`. */
  readonly output: SocketOutput;
  #owner: SenderOwner;
  #wantsPull = false;
  #isPulling = false;
  #isTurnPlanned = false;
  /**
   * Bytes that the socket took at once in this turn. They count against `room`, so that one
   * connection cannot hog a turn.
   */
  #turnBytes = 0;

  constructor(socket: Socket, owner: SenderOwner) {
    this.output = new SocketOutput(socket, this);
    this.#owner = owner;
  }

  get room(): number {
    return highWaterBytes - this.output.queuedBytes - this.#turnBytes;
  }

  /** Bytes wait that have not left the process. */
  get hasQueued(): boolean {
    return this.output.queuedBytes > 0;
  }

  /** Bytes of bulk data were copied into `output`. */
  written(): void {
    if (this.output.waitingBytes >= flushBytes) this.flush(true);
    // An owner that fills the sender is asked again when there is room, so that it need not wake
    // the sender.
    if (this.room <= 0) this.#wantsPull = true;
    this.planTurn();
  }

  /** Sends what is in `output` at the end of the turn. */
  planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    sendAtEndOfTurn(this);
  }

  /**
   * The owner has bytes. They are pulled at the end of the turn.
   *
   * @param now pull at once if there is room
   */
  wake(now = false): void {
    this.#wantsPull = true;
    if (now && !this.#isPulling && this.room > 0) this.#pull();
    else this.planTurn();
  }

  /** @param more the turn brings more, so that an incomplete TLS record may wait for it */
  flush(more = false): void {
    this.#turnBytes += this.output.flush(more);
  }

  /** The socket is closed: frees all memory. The owner is not called any more. */
  destroy(): void {
    this.output.destroy();
    // Node keeps the callback of the last write with the closed socket, and with it this sender.
    this.#owner = noOwner;
  }

  endTurn(): void {
    this.#turnBytes = 0;
    this.#pullIfWanted();
    // Not before, because what was pulled is sent here and needs no turn of its own.
    this.#isTurnPlanned = false;
    this.flush();
    this.#planIfWanted();
    this.output.rest();
    this.#owner.onFlushed?.();
  }

  onTaken(): void {
    this.flush(this.#wantsPull);
    this.#pullIfWanted();
    this.flush();
    this.#planIfWanted();
    if (!this.hasQueued) this.#owner.onDrained();
    if (!this.#isTurnPlanned) this.output.rest();
    this.#owner.onFlushed?.();
  }

  #pullIfWanted(): void {
    if (this.#wantsPull && this.room > 0) this.#pull();
  }

  /** The owner has more, and there is room for it now or in the next turn. */
  #planIfWanted(): void {
    if (!this.#wantsPull || !this.#owner.canPull) return;
    if (this.room > 0 || this.#turnBytes > 0) this.planTurn();
  }

  #pull(): void {
    if (!this.#owner.canPull) return;
    this.#wantsPull = false;
    this.#isPulling = true;
    this.#owner.pull();
    this.#isPulling = false;
  }
}
