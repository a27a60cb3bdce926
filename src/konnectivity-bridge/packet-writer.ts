import type { TunnelStream } from '../tunnel/stream-handler.ts';
import type { FrontStream } from './front.ts';
import { dataHeaderMaxBytes, writeDataHeader } from './packet.ts';
import { maxPayloadBytes, type PacketBuffer, type PacketBufferPool } from './packet-buffer.ts';

/** Packets on their way above which one that is not full waits for more: a slow client gets fewer and larger ones. */
const maxQueuedPartials = 4;

/**
 * The way from a target to its client. Gathers what arrives within one turn of the event loop into DATA packets of at most
 * 64 KiB (a client pays per packet, and has ten slots of them), and gives the tunnel's window back as the packets leave.
 *
 * It starts out holding everything: the Go client drops DATA that comes too close behind DIAL_RSP. What is held is bounded
 * by the tunnel's window, because none of that is given back meanwhile.
 */
export class PacketWriter {
  readonly #front: FrontStream;
  readonly #pool: PacketBufferPool;
  readonly #turn: TurnFlusher;
  readonly #connectId: number;
  readonly #maxQueuedBytes: number;
  #tunnel: TunnelStream | undefined;
  #held: PacketBuffer[] | undefined = [];
  #filling: PacketBuffer | undefined;
  #isWaitingForTurn = false;
  /** Bytes that were sent to the client and whose window has not been given back. */
  #owedBytes = 0;

  constructor(options: {
    readonly front: FrontStream;
    readonly tunnel: TunnelStream;
    readonly pool: PacketBufferPool;
    readonly turn: TurnFlusher;
    readonly connectId: number;
    readonly maxQueuedBytes: number;
  }) {
    this.#front = options.front;
    this.#tunnel = options.tunnel;
    this.#pool = options.pool;
    this.#turn = options.turn;
    this.#connectId = options.connectId;
    this.#maxQueuedBytes = options.maxQueuedBytes;
  }

  get isHolding(): boolean {
    return this.#held !== undefined;
  }

  /** Takes bytes from the target; copies them. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const buffer = this.#bufferFor(bytes.length - at);
      at += buffer.append(bytes, at);
      if (buffer.payloadBytes === maxPayloadBytes) this.#passOn(buffer);
    }
    if (this.#filling && !this.#held && !this.#isWaitingForTurn) {
      this.#isWaitingForTurn = true;
      this.#turn.add(this);
    }
  }

  /** Ends the hold; what was held is sent. Idempotent. */
  release(): void {
    const held = this.#held;
    if (!held) return;
    this.#held = undefined;
    for (const buffer of held) this.#send(buffer);
    this.#sendFilling();
  }

  /** The turn is over. */
  onTurnEnd(): void {
    this.#isWaitingForTurn = false;
    if (this.#front.queuedPackets < maxQueuedPartials) this.#sendFilling();
  }

  /** Some packets have left the process. */
  onSent(): void {
    if (!this.#isWaitingForTurn && this.#front.queuedPackets < maxQueuedPartials)
      this.#sendFilling();
    this.#payBack();
  }

  /** Sends everything that has been written. */
  flush(): void {
    this.release();
    this.#sendFilling();
  }

  /** Forgets what has not been sent, as the client wants no more, and gives back all of the window. */
  discard(): void {
    for (const buffer of this.#held ?? []) this.#recycle(buffer);
    this.#held = undefined;
    if (this.#filling) this.#recycle(this.#filling);
    this.#filling = undefined;
    if (this.#owedBytes > 0) this.#tunnel?.consumed(this.#owedBytes);
    this.#owedBytes = 0;
  }

  /** The tunnel's stream is gone: there is no window to give back. */
  detachTunnel(): void {
    this.#tunnel = undefined;
  }

  #bufferFor(bytes: number): PacketBuffer {
    const filling = this.#filling;
    if (filling && filling.roomBytes > 0) {
      if (filling.roomBytes >= bytes || filling.isLarge) return filling;
    }
    const buffer = this.#pool.take((filling?.payloadBytes ?? 0) + bytes);
    if (filling) {
      buffer.append(filling.bytes.subarray(dataHeaderMaxBytes, filling.end), 0);
      this.#pool.recycle(filling);
    }
    this.#filling = buffer;
    return buffer;
  }

  #passOn(buffer: PacketBuffer): void {
    this.#filling = undefined;
    if (this.#held) this.#held.push(buffer);
    else this.#send(buffer);
  }

  #sendFilling(): void {
    const buffer = this.#filling;
    if (!buffer || this.#held) return;
    this.#filling = undefined;
    this.#send(buffer);
  }

  #send(buffer: PacketBuffer): void {
    this.#owedBytes += buffer.payloadBytes;
    const start = writeDataHeader(buffer.bytes, dataHeaderMaxBytes, buffer.end, this.#connectId);
    this.#front.send(buffer.bytes.subarray(start, buffer.end), buffer);
    this.#payBack();
  }

  #payBack(): void {
    if (this.#owedBytes === 0 || this.#front.queuedBytes > this.#maxQueuedBytes) return;
    const owedBytes = this.#owedBytes;
    this.#owedBytes = 0;
    this.#tunnel?.consumed(owedBytes);
  }

  #recycle(buffer: PacketBuffer): void {
    this.#owedBytes += buffer.payloadBytes;
    this.#pool.recycle(buffer);
  }
}

/** Calls writers once at the end of the turn in which they got something: one immediate for all of them. */
export class TurnFlusher {
  #waiting: PacketWriter[] = [];
  #running: PacketWriter[] = [];

  add(writer: PacketWriter): void {
    if (this.#waiting.push(writer) === 1) setImmediate(this.#run);
  }

  readonly #run = (): void => {
    [this.#waiting, this.#running] = [this.#running, this.#waiting];
    for (const writer of this.#running) writer.onTurnEnd();
    this.#running.length = 0;
  };
}
