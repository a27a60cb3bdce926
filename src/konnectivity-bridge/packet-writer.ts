import { atEndOfTurn, type TurnTask } from '../base/end-of-turn.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';
import type { FrontStream } from '../konnectivity/front.ts';
import { dataHeaderMaxBytes, writeDataHeader } from '../konnectivity/packet.ts';
import {
  maxPayloadBytes,
  type PacketBuffer,
  type PacketBufferPool,
} from '../konnectivity/packet-buffer.ts';

/**
 * With as many packets queued, a packet that is not full waits for more bytes, so that a slow
 * client gets fewer and larger packets.
 */
const maxQueuedPartials = 4;

/**
 * Sends a target's bytes to its client. Gathers the bytes of one turn of the event loop into DATA
 * packets of at most 64 KiB, because a client pays per packet and has ten slots for them. Gives the
 * tunnel's window back as packets leave the process.
 *
 * A new writer holds everything until `release`, because the Go client drops DATA that comes too
 * close behind DIAL_RSP. Held bytes are bounded by the tunnel's window, because none of it is given
 * back meanwhile.
 */
export class PacketWriter implements TurnTask {
  readonly #front: FrontStream;
  readonly #pool: PacketBufferPool;
  readonly #connectId: number;
  readonly #maxQueuedBytes: number;
  #tunnel: TunnelStream | undefined;
  #held: PacketBuffer[] | undefined = [];
  #filling: PacketBuffer | undefined;
  #isWaitingForTurn = false;
  /** Bytes that were sent to the client and whose window has not been given back. */
  #unreportedBytes = 0;

  constructor(options: {
    readonly front: FrontStream;
    readonly tunnel: TunnelStream;
    readonly pool: PacketBufferPool;
    readonly connectId: number;
    readonly maxQueuedBytes: number;
  }) {
    this.#front = options.front;
    this.#tunnel = options.tunnel;
    this.#pool = options.pool;
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
    if (this.#filling !== undefined && this.#held === undefined && !this.#isWaitingForTurn) {
      this.#isWaitingForTurn = true;
      atEndOfTurn(this);
    }
  }

  /** Ends the hold; what was held is sent. Idempotent. */
  release(): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    for (const buffer of held) this.#send(buffer);
    this.#sendFilling();
  }

  endTurn(): void {
    this.#isWaitingForTurn = false;
    if (this.#front.queuedPackets < maxQueuedPartials) this.#sendFilling();
  }

  /** Some packets have left the process. */
  onSent(): void {
    if (!this.#isWaitingForTurn && this.#front.queuedPackets < maxQueuedPartials)
      this.#sendFilling();
    this.#reportConsumed();
  }

  /** Sends everything that has been written. */
  flush(): void {
    this.release();
    this.#sendFilling();
  }

  /**
   * Drops what has not been sent, because the client wants no more, and gives back all of the
   * window.
   */
  discard(): void {
    for (const buffer of this.#held ?? []) this.#recycle(buffer);
    this.#held = undefined;
    if (this.#filling !== undefined) this.#recycle(this.#filling);
    this.#filling = undefined;
    if (this.#unreportedBytes > 0) this.#tunnel?.consumed(this.#unreportedBytes);
    this.#unreportedBytes = 0;
  }

  /** The tunnel's stream is gone: there is no window to give back. */
  detachTunnel(): void {
    this.#tunnel = undefined;
  }

  #bufferFor(bytes: number): PacketBuffer {
    const filling = this.#filling;
    if (filling !== undefined && filling.roomBytes > 0) {
      if (filling.roomBytes >= bytes || filling.isLarge) return filling;
    }
    const buffer = this.#pool.take((filling?.payloadBytes ?? 0) + bytes);
    if (filling !== undefined) {
      buffer.append(filling.bytes.subarray(dataHeaderMaxBytes, filling.end), 0);
      this.#pool.recycle(filling);
    }
    this.#filling = buffer;
    return buffer;
  }

  #passOn(buffer: PacketBuffer): void {
    this.#filling = undefined;
    if (this.#held !== undefined) this.#held.push(buffer);
    else this.#send(buffer);
  }

  #sendFilling(): void {
    const buffer = this.#filling;
    if (buffer === undefined || this.#held !== undefined) return;
    this.#filling = undefined;
    this.#send(buffer);
  }

  #send(buffer: PacketBuffer): void {
    this.#unreportedBytes += buffer.payloadBytes;
    const start = writeDataHeader(buffer.bytes, dataHeaderMaxBytes, buffer.end, this.#connectId);
    this.#front.send(buffer.bytes.subarray(start, buffer.end), buffer);
    this.#reportConsumed();
  }

  #reportConsumed(): void {
    if (this.#unreportedBytes === 0 || this.#front.queuedBytes > this.#maxQueuedBytes) return;
    const unreportedBytes = this.#unreportedBytes;
    this.#unreportedBytes = 0;
    this.#tunnel?.consumed(unreportedBytes);
  }

  #recycle(buffer: PacketBuffer): void {
    this.#unreportedBytes += buffer.payloadBytes;
    this.#pool.recycle(buffer);
  }
}
