import { atEndOfTurn, type TurnTask } from '../base/end-of-turn.ts';
import type { ClientConnection } from '../konnectivity/client-connection.ts';
import type { FrontStream } from '../konnectivity/front.ts';
import { dataHeaderMaxBytes, PacketType, writeDataHeader } from '../konnectivity/packet.ts';
import type { PacketCounter } from '../konnectivity/packet-counts.ts';
import {
  maxPayloadBytes,
  type PacketBuffer,
  type PacketBufferPool,
} from '../konnectivity/packet-buffer.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';
import type { WriteTimes } from './write-times.ts';

/** How a `ClientWriter` sends to its client. */
export interface ClientSink {
  /** How many sent bytes are still in this process. */
  readonly queuedBytes: number;
  /** A buffer that is not full waits for more bytes, because the client is behind anyway. */
  readonly isBehind: boolean;
  /** Sends the payload of a buffer, which is the buffer's owner. */
  sendBuffer(buffer: PacketBuffer): void;
}

/**
 * With as many packets queued, a packet that is not full waits for more bytes, so that a slow
 * client gets fewer and larger packets.
 */
const maxQueuedPartials = 4;

/**
 * Sends DATA packets. A client pays per packet and has ten slots for them, so packets are large.
 */
export class PacketSink implements ClientSink {
  readonly #front: FrontStream;
  readonly #sent: PacketCounter;
  readonly #connectId: number;

  constructor(front: FrontStream, sent: PacketCounter, connectId: number) {
    this.#front = front;
    this.#sent = sent;
    this.#connectId = connectId;
  }

  get queuedBytes(): number {
    return this.#front.queuedBytes;
  }

  get isBehind(): boolean {
    return this.#front.queuedPackets >= maxQueuedPartials;
  }

  sendBuffer(buffer: PacketBuffer): void {
    const start = writeDataHeader(buffer.bytes, dataHeaderMaxBytes, buffer.end, this.#connectId);
    this.#sent.add(PacketType.data);
    this.#front.send(buffer.bytes.subarray(start, buffer.end), buffer);
  }
}

/** While so many bytes wait for the client, a buffer that is not full waits for more bytes. */
const largeBacklogBytes = 64 * 1024;

/** Sends plain bytes, in large pieces, so that TLS makes few records. */
export class ByteSink implements ClientSink {
  readonly #client: Pick<ClientConnection, 'queuedBytes' | 'send'>;

  constructor(client: Pick<ClientConnection, 'queuedBytes' | 'send'>) {
    this.#client = client;
  }

  get queuedBytes(): number {
    return this.#client.queuedBytes;
  }

  get isBehind(): boolean {
    return this.#client.queuedBytes >= largeBacklogBytes;
  }

  sendBuffer(buffer: PacketBuffer): void {
    this.#client.send(buffer.bytes.subarray(dataHeaderMaxBytes, buffer.end), buffer);
  }
}

export interface ClientWriterOptions {
  readonly sink: ClientSink;
  readonly tunnel: Pick<TunnelStream, 'consumed'>;
  readonly pool: PacketBufferPool;
  /** With more bytes queued for the client, the target's window is not given back. */
  readonly maxQueuedBytes: number;
  /** Nothing is sent before `release`. */
  readonly isHolding: boolean;
  /** Measures some of the writes. */
  readonly writeTimes: WriteTimes;
}

/**
 * Sends a target's bytes to its client. Gathers the bytes of one turn of the event loop into buffers
 * of at most 32 KiB. Gives the tunnel's window back as bytes leave the process, so that a client
 * that does not read stalls its own target.
 *
 * A writer that holds sends nothing until `release`, because clients drop bytes that come too close
 * behind the answer to their dial. Held bytes are bounded by the tunnel's window, because none of it
 * is given back meanwhile.
 */
export class ClientWriter implements TurnTask {
  readonly #sink: ClientSink;
  readonly #pool: PacketBufferPool;
  readonly #maxQueuedBytes: number;
  readonly #writeTimes: WriteTimes;
  #tunnel: Pick<TunnelStream, 'consumed'> | undefined;
  /** Full buffers of the hold; undefined after it. */
  #held: PacketBuffer[] | undefined;
  #filling: PacketBuffer | undefined;
  #isWaitingForTurn = false;
  /** Bytes that were sent or dropped and whose window has not been given back. */
  #unreportedBytes = 0;

  constructor(options: ClientWriterOptions) {
    const { sink, tunnel, pool, maxQueuedBytes, isHolding } = options;
    this.#sink = sink;
    this.#tunnel = tunnel;
    this.#pool = pool;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#held = isHolding ? [] : undefined;
    this.#writeTimes = options.writeTimes;
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
    if (!this.#sink.isBehind) this.#sendFilling();
  }

  /** Some sent bytes have left the process. */
  onSent(): void {
    if (!this.#isWaitingForTurn && !this.#sink.isBehind) this.#sendFilling();
    if (this.#sink.queuedBytes === 0) this.#writeTimes.sent(this);
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
    this.#writeTimes.sending(this);
    this.#sink.sendBuffer(buffer);
    this.#reportConsumed();
  }

  #reportConsumed(): void {
    if (this.#unreportedBytes === 0 || this.#sink.queuedBytes > this.#maxQueuedBytes) return;
    const unreportedBytes = this.#unreportedBytes;
    this.#unreportedBytes = 0;
    this.#tunnel?.consumed(unreportedBytes);
  }

  #recycle(buffer: PacketBuffer): void {
    this.#unreportedBytes += buffer.payloadBytes;
    this.#pool.recycle(buffer);
  }
}
