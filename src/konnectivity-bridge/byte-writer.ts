import { atEndOfTurn, type TurnTask } from '../base/end-of-turn.ts';
import type { ClientConnection } from '../konnectivity/client-connection.ts';
import { dataHeaderMaxBytes } from '../konnectivity/packet.ts';
import {
  maxPayloadBytes,
  type PacketBuffer,
  type PacketBufferPool,
} from '../konnectivity/packet-buffer.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';

/** While so many bytes wait for the client, a buffer that is not full waits for more bytes. */
const largeBacklogBytes = 64 * 1024;

export interface ByteWriterOptions {
  readonly client: Pick<ClientConnection, 'queuedBytes' | 'send' | 'end'>;
  readonly tunnel: Pick<TunnelStream, 'consumed'>;
  readonly pool: PacketBufferPool;
  /** With more bytes queued for the client, the target's window is not given back. */
  readonly maxQueuedBytes: number;
  /** Nothing is sent before `release`. */
  readonly isHolding: boolean;
}

/**
 * Sends a target's bytes to a client whose protocol has no packets. Gathers the bytes of one turn
 * of the event loop into buffers of at most 64 KiB, so that TLS makes few records. Gives the
 * tunnel's window back as bytes leave the process, so that a client that does not read stalls its
 * own target. Held bytes are bounded by that window.
 */
export class ByteWriter implements TurnTask {
  readonly #client: ByteWriterOptions['client'];
  readonly #pool: PacketBufferPool;
  readonly #maxQueuedBytes: number;
  #tunnel: ByteWriterOptions['tunnel'] | undefined;
  #isHolding: boolean;
  /** Full buffers of the hold. */
  readonly #held: PacketBuffer[] = [];
  #filling: PacketBuffer | undefined;
  #isWaitingForTurn = false;
  #isEnding = false;
  /** Bytes that were sent or dropped and whose window has not been given back. */
  #unreportedBytes = 0;

  constructor({ client, tunnel, pool, maxQueuedBytes, isHolding }: ByteWriterOptions) {
    this.#client = client;
    this.#tunnel = tunnel;
    this.#pool = pool;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#isHolding = isHolding;
  }

  get isHolding(): boolean {
    return this.#isHolding;
  }

  /** Takes bytes from the target; copies them. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const buffer = this.#bufferFor(bytes.length - at);
      at += buffer.append(bytes, at);
      if (buffer.payloadBytes === maxPayloadBytes) this.#passOn(buffer);
    }
    if (this.#filling !== undefined && !this.#isHolding && !this.#isWaitingForTurn) {
      this.#isWaitingForTurn = true;
      atEndOfTurn(this);
    }
  }

  /** Ends the client's direction after all bytes, and after the hold. */
  end(): void {
    this.#isEnding = true;
    if (!this.#isHolding) this.#sendAll();
  }

  /** Ends the hold; what was held is sent. Idempotent. */
  release(): void {
    if (!this.#isHolding) return;
    this.#isHolding = false;
    this.#sendAll();
  }

  endTurn(): void {
    this.#isWaitingForTurn = false;
    if (this.#client.queuedBytes < largeBacklogBytes) this.#sendFilling();
  }

  /** Some bytes have left the process. */
  onSent(): void {
    if (!this.#isWaitingForTurn && this.#client.queuedBytes < largeBacklogBytes) {
      this.#sendFilling();
    }
    this.#reportConsumed();
  }

  /** Drops what has not been sent, because the client is gone, and gives back all of the window. */
  discard(): void {
    for (const buffer of this.#held) this.#recycle(buffer);
    this.#held.length = 0;
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
    if (this.#isHolding) this.#held.push(buffer);
    else this.#send(buffer);
  }

  #sendAll(): void {
    for (const buffer of this.#held) this.#send(buffer);
    this.#held.length = 0;
    this.#sendFilling();
    if (this.#isEnding) this.#client.end();
  }

  #sendFilling(): void {
    const buffer = this.#filling;
    if (buffer === undefined || this.#isHolding) return;
    this.#filling = undefined;
    this.#send(buffer);
  }

  #send(buffer: PacketBuffer): void {
    this.#unreportedBytes += buffer.payloadBytes;
    this.#client.send(buffer.bytes.subarray(dataHeaderMaxBytes, buffer.end), buffer);
    this.#reportConsumed();
  }

  #reportConsumed(): void {
    if (this.#unreportedBytes === 0 || this.#client.queuedBytes > this.#maxQueuedBytes) return;
    const unreportedBytes = this.#unreportedBytes;
    this.#unreportedBytes = 0;
    this.#tunnel?.consumed(unreportedBytes);
  }

  #recycle(buffer: PacketBuffer): void {
    this.#unreportedBytes += buffer.payloadBytes;
    this.#pool.recycle(buffer);
  }
}
