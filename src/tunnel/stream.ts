import type { Timer } from '../base/clock.ts';
import { TunnelError } from './errors.ts';
import type { Opened } from './open-message.ts';
import { PendingControl } from './pending-control.ts';
import type { ReceiveWindow } from './receive-window.ts';
import { SendDirection } from './send-direction.ts';
import type { Block, SlabPool } from './slab.ts';
import type { StreamHandler, TunnelStream } from './stream-handler.ts';
import type { StreamRequest, StreamRole } from './stream-request.ts';

/** The part of a session that sends frames. */
export interface StreamScheduler {
  /** The stream has another pending control frame, a bit of `PendingControl`. */
  schedule(stream: Stream, bit: number): void;
  /** The stream has data and credit. */
  hasData(stream: Stream): void;
}

/** The other parts of a session that a stream calls. */
export interface StreamOwner {
  /** The reader has taken bytes. True: the new limit is worth a CREDIT. */
  grant(stream: Stream, bytes: number): boolean;
  /** The stream has ended on this side. `onClose` follows later, never from inside a verb. */
  ended(stream: Stream): void;
}

export interface StreamOptions {
  readonly number: number;
  readonly role: StreamRole;
  readonly receiving: ReceiveWindow;
  readonly pool: SlabPool;
  readonly owner: StreamOwner;
  readonly scheduler: StreamScheduler;
}

/**
 * Both directions of one stream. The state is a set of facts rather than a list of phases, because
 * the two directions end independently: whether the stream was accepted, our FIN (requested, sent,
 * acknowledged), their FIN, and how it ended.
 *
 * Users of a stream see it as `TunnelStream`. The other verbs are for the session and its parts,
 * which call them when frames arrive or were sent.
 */
export class Stream implements TunnelStream {
  readonly number: number;
  readonly role: StreamRole;
  readonly handler: StreamHandler;
  readonly receiving: ReceiveWindow;
  readonly sending: SendDirection;
  /** See `mayWait` of `SendScheduler`. */
  isPatient = false;
  readonly #owner: StreamOwner;
  readonly #scheduler: StreamScheduler;
  /** The opener's, until the answer, because many streams are open for hours. */
  #dial: { request: StreamRequest; answerTimer: Timer | undefined } | undefined;
  /** Bits of `PendingControl`. */
  #pendingControl = 0;
  #isAnnounced = false;
  #peerKnowsStop = false;
  /** This end wants no more bytes. */
  #isReceivingStopped = false;
  #isEnded = false;
  #failure: TunnelError | undefined;

  constructor(
    { number, role, receiving, pool, owner, scheduler }: StreamOptions,
    handler: (stream: Stream) => StreamHandler,
  ) {
    this.number = number;
    this.role = role;
    this.receiving = receiving;
    this.sending = new SendDirection(pool);
    this.#owner = owner;
    this.#scheduler = scheduler;
    this.handler = handler(this);
  }

  /** The opener's: the content of OPEN, while OPEN may have to be sent. */
  get request(): StreamRequest | undefined {
    return this.#dial?.request;
  }

  get pendingControl(): number {
    return this.#pendingControl;
  }

  /** The other end can know the stream, because OPEN was sent or received. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  /** OPENED was sent or received. */
  get isAccepted(): boolean {
    return this.sending.isOpen;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** The reason for an early end; undefined for a stream that is open or ended in order. */
  get failure(): TunnelError | undefined {
    return this.#failure;
  }

  /** Both directions have ended, and the other end knows everything that it must know. */
  get isDone(): boolean {
    const owesCredit = (this.#pendingControl & PendingControl.credit) !== 0;
    return this.sending.isFinAcknowledged && this.receiving.hasFin && !owesCredit;
  }

  write(bytes: Uint8Array): boolean {
    const { sending } = this;
    if (this.#isEnded) return false;
    if (sending.isStopped) return true;
    if (sending.isFinRequested) {
      throw new TunnelError('internal', `write after fin on stream ${this.number}`);
    }
    sending.append(bytes);
    if (sending.hasData) this.#scheduler.hasData(this);
    return sending.hasRoom();
  }

  fin(): void {
    if (this.sending.isFinRequested || this.#isEnded) return;
    this.sending.requestFin();
    if (this.sending.isFinDue) this.#schedule(PendingControl.fin);
  }

  reset(error: TunnelError): void {
    if (this.#isEnded) return;
    this.fail(error);
    this.#schedule(PendingControl.reset);
  }

  consumed(bytes: number): void {
    if (!this.#isReceivingStopped) this.#grant(bytes);
  }

  stopReceiving(): void {
    if (this.#isReceivingStopped || this.#isEnded) return;
    this.#isReceivingStopped = true;
    if (this.isAccepted) this.#sendStop();
  }

  /** The acceptor has connected to the target. Idempotent. */
  accept(): void {
    if (this.#isEnded || this.isAccepted) return;
    this.sending.open();
    this.#schedule(PendingControl.opened);
    if (this.#isReceivingStopped) this.#sendStop();
    this.#begin();
  }

  /** Ends both directions on this side, and sends nothing. Idempotent. */
  fail(error: TunnelError | undefined): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#failure = error;
    this.#pendingControl = 0;
    this.#dial?.answerTimer?.cancel();
    this.sending.clear();
    this.receiving.close();
    this.#owner.ended(this);
  }

  /** The opener's: OPEN has to be sent. The answer, or the end of the stream, cancels the timer. */
  open(request: StreamRequest, answerTimer = this.#dial?.answerTimer): void {
    this.#dial = { request, answerTimer };
    this.#schedule(PendingControl.open);
  }

  scheduleCredit(): void {
    this.#schedule(PendingControl.credit);
  }

  /** Returns the pending control frames, which the caller sends now. */
  takePendingControl(): number {
    const pending = this.#pendingControl;
    this.#pendingControl = 0;
    return pending;
  }

  /** Returns the next DATA frame, without its header, and schedules the FIN behind the last one. */
  nextData(): Block | undefined {
    const block = this.sending.next();
    if (this.sending.isFinDue) this.#schedule(PendingControl.fin);
    return block;
  }

  openSent(): void {
    this.#isAnnounced = true;
  }

  /** Data was sent, or credit arrived: calls `onWritable` once enough room is free. */
  wakeWriter(): void {
    if (!this.#isEnded && this.sending.takeWaitingWriter()) this.handler.onWritable();
  }

  /**
   * The acceptor's: OPEN arrived.
   *
   * @param maxKeptBytes bounds what this end keeps for a peer that grants and never acknowledges
   */
  openArrived({ window, stop }: Opened, maxKeptBytes: number): void {
    this.#isAnnounced = true;
    this.sending.setLimit(Math.min(window, maxKeptBytes));
    this.#peerKnowsStop = stop === true;
  }

  /** The opener's: OPENED arrived, with the acceptor's window. */
  openedArrived({ window, stop }: Opened, maxKeptBytes: number): void {
    this.#dial?.answerTimer?.cancel();
    // A peer may answer an OPEN that waits to be sent.
    if ((this.#pendingControl & PendingControl.open) === 0) this.#dial = undefined;
    this.sending.open();
    this.#peerKnowsStop = stop === true;
    this.sending.setLimit(Math.min(window, maxKeptBytes));
    if (this.#isReceivingStopped) this.#sendStop();
    this.#begin();
    this.handler.onOpened?.();
  }

  /** DATA arrived, which `receiving` has counted. After a stop the bytes are dropped. */
  dataArrived(bytes: Uint8Array): void {
    if (!this.#isReceivingStopped) this.handler.onData(bytes);
    // A peer that does not know a stop gets credit for dropped bytes, since only its FIN ends the
    // stream.
    else if (!this.#peerKnowsStop) this.#grant(bytes.length);
  }

  finArrived(): void {
    if (this.receiving.hasFin) return;
    this.receiving.finArrived();
    this.scheduleCredit();
    this.handler.onFin();
  }

  /**
   * CREDIT arrived. A `limit` of 0 is a stop: the other end wants no more bytes.
   *
   * @throws TunnelError `protocol_error` for bytes that were never sent
   */
  creditArrived(received: number, limit: number, maxKeptBytes: number): void {
    this.sending.acknowledge(received, limit, maxKeptBytes);
    if (limit === 0) this.#stopSending();
    else if (this.sending.hasData) this.#scheduler.hasData(this);
  }

  /**
   * The session is on a new link, and SYNC has reported what the other end has of this stream.
   * Returns how many bytes are sent again.
   *
   * @throws TunnelError `protocol_error` for bytes that were never sent, or that it acknowledged
   *   before
   */
  resync(received: number, limit: number, maxKeptBytes: number): number {
    this.sending.checkReceived(received);
    if (limit === 0) this.#stopSending();
    const againBytes = this.sending.rewind(received, limit, maxKeptBytes);
    this.scheduleCredit();
    // A pending FIN waits for the bytes that are sent again before it.
    this.#pendingControl &= ~PendingControl.fin;
    // The answer to OPEN may have been lost with the link. To repeat it changes nothing.
    if (this.isAccepted && this.role === 'acceptor') this.#schedule(PendingControl.opened);
    this.#begin();
    return againBytes;
  }

  /** Sends what was written before the stream was open. */
  #begin(): void {
    if (this.sending.hasData) this.#scheduler.hasData(this);
    else if (this.sending.isFinDue) this.#schedule(PendingControl.fin);
  }

  #grant(bytes: number): void {
    if (!this.#isEnded && this.#owner.grant(this, bytes)) this.scheduleCredit();
  }

  #sendStop(): void {
    if (!this.#peerKnowsStop) return this.#grant(this.receiving.unreadBytes);
    this.receiving.stop();
    this.scheduleCredit();
  }

  /** Drops what the other end does not want, and ends this direction behind what was sent. */
  #stopSending(): void {
    if (this.sending.isStopped || !this.#peerKnowsStop || this.#isEnded) return;
    this.sending.stop();
    if (this.sending.isFinDue) this.#schedule(PendingControl.fin);
    this.handler.onStop?.();
  }

  #schedule(bit: number): void {
    if ((this.#pendingControl & bit) !== 0) return;
    this.#pendingControl |= bit;
    this.#scheduler.schedule(this, bit);
  }
}
