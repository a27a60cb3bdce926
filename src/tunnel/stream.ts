import type { Timer } from '../base/clock.ts';
import { TunnelError } from './errors.ts';
import type { Opened } from './open-message.ts';
import { SendBuffer } from './send-buffer.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { Block, SlabPool } from './slab.ts';
import type { StreamHandler, TunnelStream } from './stream-handler.ts';
import type { StreamRequest } from './stream-request.ts';

/** A writer stops when this much waits unsent, in bytes, and goes on at half: enough for one turn, little enough to stay fair. */
const unsentHighBytes = 256 * 1024;

/** Control frames that a stream owes the other end; they go before any data. */
export const Owed = { open: 1, opened: 2, credit: 4, fin: 8, reset: 16 } as const;

/** What a stream needs of its session. */
export interface StreamOwner {
  /** The stream has a control frame to send. */
  owes(stream: Stream): void;
  /** The stream has data and credit. */
  hasData(stream: Stream): void;
  /** Bytes were given or taken: `stream.handler` has been told nothing yet. */
  grant(stream: Stream, bytes: number): boolean;
  /** The stream has ended on this side; `onClose` follows later, never from inside a verb. */
  ended(stream: Stream): void;
}

/**
 * Both directions of one stream. The state is a set of facts rather than a list of phases, because the two directions
 * end by themselves: whether it was accepted, our FIN (asked, sent, acknowledged), their FIN, and how it ended.
 */
export class Stream implements TunnelStream {
  readonly number: number;
  readonly handler: StreamHandler;
  readonly receiving: ReceiveWindow;
  readonly sending: SendBuffer;
  /** Bits of `Owed`. */
  owed = 0;
  /** In the session's queue of streams with data. */
  queued = false;
  /** The agent has connected. */
  accepted = false;
  /** How far the other end lets us send. */
  limit = 0;
  /** Of that, what it has not acknowledged, as the session counts it. */
  grantedBytes = 0;
  finAsked = false;
  finSent = false;
  finReceived = false;
  finAcknowledged = false;
  /** The other end has said that it understands a stop. */
  peerKnowsStop = false;
  /** This end wants no more bytes. */
  receivingStopped = false;
  /** The other end wants no more bytes. */
  sendingStopped = false;
  /** Why the stream ended before its time. */
  failure: TunnelError | undefined;
  ended = false;
  /** The other end has heard of the stream. */
  announced = false;
  /** The dialer's side: what OPEN says, and the timer that ends the wait for the answer. */
  openRequest: StreamRequest | undefined;
  answerTimer: Timer | undefined;
  readonly #owner: StreamOwner;
  #writerWaits = false;

  constructor(
    number: number,
    handler: (stream: Stream) => StreamHandler,
    receiving: ReceiveWindow,
    pool: SlabPool,
    owner: StreamOwner,
  ) {
    this.number = number;
    this.receiving = receiving;
    this.sending = new SendBuffer(pool);
    this.#owner = owner;
    this.handler = handler(this);
  }

  /** How much may be sent now; nothing before OPENED, also where the agent's target speaks first. */
  get creditBytes(): number {
    return this.accepted ? this.limit - this.sending.sent : 0;
  }

  write(bytes: Uint8Array): boolean {
    if (this.ended) return false;
    if (this.sendingStopped) return true;
    if (this.finAsked)
      throw new TunnelError('internal', `write after fin on stream ${this.number}`);
    this.sending.append(bytes);
    if (this.creditBytes > 0) this.#owner.hasData(this);
    if (this.sending.unsentBytes < unsentHighBytes && this.sending.written < this.limit)
      return true;
    this.#writerWaits = true;
    return false;
  }

  fin(): void {
    if (this.finAsked || this.ended) return;
    this.finAsked = true;
    if (this.accepted && this.sending.unsentBytes === 0) this.#owe(Owed.fin);
  }

  reset(error: TunnelError): void {
    if (this.ended) return;
    this.fail(error);
    this.#owe(Owed.reset);
  }

  consumed(bytes: number): void {
    if (!this.receivingStopped) this.#grant(bytes);
  }

  stopReceiving(): void {
    if (this.receivingStopped || this.ended) return;
    this.receivingStopped = true;
    if (this.accepted) this.#sayStop();
  }

  /** Bytes arrived that nobody wants. A peer that does not know a stop gets credit for them, since only its FIN ends the stream. */
  dropped(bytes: number): void {
    if (!this.peerKnowsStop) this.#grant(bytes);
  }

  /** The agent's side: connected to the target. */
  accept(): void {
    if (this.ended || this.accepted) return;
    this.accepted = true;
    this.#owe(Owed.opened);
    if (this.receivingStopped) this.#sayStop();
    this.#begin();
  }

  /** The dialer's side: OPENED arrived, with the agent's window. */
  opened({ window, stop }: Opened, maxKeptBytes: number): void {
    this.answerTimer?.cancel();
    this.accepted = true;
    this.peerKnowsStop = stop === true;
    this.limit = Math.min(window, maxKeptBytes);
    if (this.receivingStopped) this.#sayStop();
    this.#begin();
  }

  /** The next DATA frame within the credit, still without its header. Says so when that was the last before a FIN. */
  nextData(): Block | undefined {
    const block = this.sending.next(this.creditBytes);
    if (this.finAsked && !this.finSent && this.sending.unsentBytes === 0) this.#owe(Owed.fin);
    return block;
  }

  /** After data went out or credit came in: tells a writer that waits, once it is worth it. */
  wakeWriter(): void {
    if (!this.#writerWaits || this.ended || this.finAsked) return;
    if (this.sending.unsentBytes > unsentHighBytes / 2 || this.sending.written >= this.limit)
      return;
    this.#writerWaits = false;
    this.handler.onWritable();
  }

  /**
   * CREDIT arrived. A `limit` of 0 is a stop: the other end wants no more.
   *
   * @param maxKeptBytes how much a peer that grants without acknowledging can make this end keep
   * @throws TunnelError `protocol_error` for bytes that were never sent
   */
  credit(received: number, limit: number, maxKeptBytes: number): void {
    const { sent } = this.sending;
    if (received > sent + (this.finSent ? 1 : 0)) {
      const sentence = `has received ${received} bytes of the ${sent} that were sent`;
      throw new TunnelError('protocol_error', sentence);
    }
    this.limit = Math.max(this.limit, Math.min(limit, received + maxKeptBytes));
    this.sending.acknowledge(received);
    if (this.finSent && received > this.sending.written) this.finAcknowledged = true;
    if (limit === 0) this.#stopSending();
    else if (this.sending.unsentBytes > 0 && this.creditBytes > 0) this.#owner.hasData(this);
  }

  /**
   * The session is on a new link, and the other end has told what it has of this stream. Returns how many bytes go out again.
   *
   * @throws TunnelError `protocol_error` for bytes that were never sent, or that it had said to have
   */
  resync(received: number, limit: number, maxKeptBytes: number): number {
    const { sending } = this;
    const hasFin = this.finSent && received === sending.written + 1;
    const bytes = hasFin ? sending.written : received;
    const forgets = bytes < sending.received || (this.finAcknowledged && !hasFin);
    if (bytes > sending.sent || forgets) {
      const sentence = `says that it has ${received} bytes, but ${sending.sent} were sent and ${sending.received} acknowledged`;
      throw new TunnelError('protocol_error', sentence);
    }
    if (limit === 0) this.#stopSending();
    const againBytes = sending.rewind(bytes);
    this.finSent = this.finAcknowledged = hasFin;
    this.limit = Math.max(this.limit, Math.min(limit, bytes + maxKeptBytes));
    this.#owe(Owed.credit);
    // A FIN that was due is not, where bytes go out again before it.
    this.owed &= ~Owed.fin;
    // The agent's answer to OPEN may be what got lost; saying it twice changes nothing.
    if (this.accepted && this.openRequest === undefined) this.#owe(Owed.opened);
    this.#begin();
    return againBytes;
  }

  /** The dialer's side: OPEN goes out again, it may have got lost. */
  reopen(): void {
    this.#owe(Owed.open);
  }

  owesCredit(): void {
    this.#owe(Owed.credit);
  }

  /** Ends both directions on this side. */
  fail(error: TunnelError | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.failure = error;
    this.owed = 0;
    this.sending.clear();
    this.receiving.close();
    this.#owner.ended(this);
  }

  /** Sends what was given before the stream was open. */
  #begin(): void {
    if (!this.accepted) return;
    if (this.sending.unsentBytes > 0 && this.creditBytes > 0) this.#owner.hasData(this);
    else if (this.finAsked && !this.finSent && this.sending.unsentBytes === 0) {
      this.#owe(Owed.fin);
    }
  }

  #grant(bytes: number): void {
    if (!this.ended && this.#owner.grant(this, bytes)) this.#owe(Owed.credit);
  }

  #sayStop(): void {
    if (!this.peerKnowsStop) return this.#grant(this.receiving.unreadBytes);
    this.receiving.stop();
    this.#owe(Owed.credit);
  }

  /** Drops what the other end does not want, and ends this direction behind what was sent. */
  #stopSending(): void {
    if (this.sendingStopped || !this.peerKnowsStop || this.ended) return;
    this.sendingStopped = true;
    this.#writerWaits = false;
    this.sending.stop();
    this.finAsked = true;
    if (this.accepted && !this.finSent) this.#owe(Owed.fin);
    this.handler.onStop?.();
  }

  #owe(bit: number): void {
    if ((this.owed & bit) !== 0) return;
    const first = this.owed === 0;
    this.owed |= bit;
    if (first) this.#owner.owes(this);
  }
}
