import { KonnectivityError } from './konnectivity-error.ts';
import { checkConnectId, decodePacket } from './decode-packet.ts';
import { grpcPrefixBytes, type Packet, PacketType } from './packet.ts';
import type { PacketCounter } from './packet-counts.ts';

/** Receives the packets of a stream in order. */
export interface PacketHandler {
  /**
   * A piece of the payload of a DATA packet, never empty. `bytes` is borrowed: valid until this
   * returns.
   */
  onPayload(connectId: number, bytes: Uint8Array): void;
  /** A whole packet of any other type. */
  onPacket(packet: Exclude<Packet, { kind: 'data' }>): void;
}

/** Limits on what a client or an agent sends on one stream. */
export interface PacketLimits {
  /**
   * A whole DATA message, in bytes. It is never buffered. A client puts one write of its
   * application into one message, of any size.
   */
  readonly maxDataBytes: number;
  /** A whole message of any other type, in bytes. It is buffered. */
  readonly maxPacketBytes: number;
  /**
   * A DATA message whose fields do not come in the order of their numbers, in bytes. It must be
   * buffered.
   */
  readonly maxReorderedDataBytes: number;
}

export const defaultPacketLimits: PacketLimits = {
  maxDataBytes: 64 * 1024 * 1024,
  maxPacketBytes: 64 * 1024,
  maxReorderedDataBytes: 1024 * 1024,
};

/**
 * Longer than all that precedes the payload of a DATA packet in its usual shape: 3 + 5 + 1 + 10 + 1
 * + 5 bytes.
 */
const headBytes = 32;
const typeDataHead = 0x0804;
const dataField = 0x22;
const connectIdField = 0x08;
const payloadField = 0x1a;
const firstCollectBytes = 4096;

type Mode = 'head' | 'payload' | 'collect';

/**
 * Finds the packets in the bytes of one gRPC stream, which come in pieces of any size. The payload
 * of DATA is passed on piece by piece as it arrives (cut-through). One `Write` of a client is one
 * packet of any size, and buffering whole packets cost more than the rest of the bridge.
 */
export class PacketParser {
  readonly #handler: PacketHandler;
  readonly #counter: PacketCounter | undefined;
  readonly #limits: PacketLimits;
  #mode: Mode = 'head';
  /** The start of a message that arrived in pieces too small to tell what it is. */
  readonly #head = new Uint8Array(grpcPrefixBytes + headBytes);
  #headLength = 0;
  #connectId = 0;
  /**
   * Bytes of the current message that are missing: of its payload (mode `payload`) or of all of it
   * (mode `collect`).
   */
  #left = 0;
  #collected = new Uint8Array(0);
  #collectedLength = 0;
  #stopped = false;

  /** @param counter counts the packets whose type is known (default: they are not counted) */
  constructor(
    handler: PacketHandler,
    counter?: PacketCounter,
    limits: PacketLimits = defaultPacketLimits,
  ) {
    this.#handler = handler;
    this.#counter = counter;
    this.#limits = limits;
  }

  /**
   * @throws KonnectivityError `malformed_packet`, `packet_too_large` or `compressed_packet`. The stream
   *   is lost then, and the parser must not be used again.
   */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      at =
        this.#mode === 'head' ? this.#readHead(chunk, at) : this.#readBody(chunk, at, chunk.length);
    }
  }

  /** Ignores what still comes, and the rest of the current chunk. */
  stop(): void {
    this.#stopped = true;
  }

  #readHead(chunk: Uint8Array, at: number): number {
    if (this.#headLength === 0 && chunk.length - at >= grpcPrefixBytes) {
      const wanted = headLengthOf(chunk, at);
      if (chunk.length - at >= wanted) return this.#startMessage(chunk, at, at + wanted);
    }
    at = this.#fillHead(chunk, at, grpcPrefixBytes);
    if (this.#headLength < grpcPrefixBytes) return at;
    const wanted = headLengthOf(this.#head, 0);
    at = this.#fillHead(chunk, at, wanted);
    if (this.#headLength < wanted) return at;
    this.#headLength = 0;
    const bodyStart = this.#startMessage(this.#head, 0, wanted);
    if (bodyStart < wanted) this.#readBody(this.#head, bodyStart, wanted);
    return at;
  }

  #fillHead(chunk: Uint8Array, at: number, wanted: number): number {
    while (this.#headLength < wanted && at < chunk.length) {
      this.#head[this.#headLength++] = chunk[at++]!;
    }
    return at;
  }

  /**
   * Decides from a message's first bytes, up to `end`, how the rest is read. Returns where the rest
   * starts.
   */
  #startMessage(bytes: Uint8Array, at: number, end: number): number {
    if (bytes[at] !== 0) {
      throw new KonnectivityError(
        'compressed_packet',
        `a packet has compression flag ${bytes[at]}; only uncompressed packets are accepted`,
      );
    }
    const messageBytes = messageBytesOf(bytes, at);
    if (messageBytes > this.#limits.maxDataBytes)
      throw tooLarge(messageBytes, this.#limits.maxDataBytes);
    const messageStart = at + grpcPrefixBytes;
    const payloadStart = this.#readDataHead(bytes, messageStart, end, messageBytes);
    if (payloadStart > 0) return payloadStart;
    const looksLikeData =
      messageBytes > 1 &&
      (((bytes[messageStart]! << 8) | bytes[messageStart + 1]!) === typeDataHead ||
        bytes[messageStart] === dataField);
    const limit = looksLikeData ? this.#limits.maxReorderedDataBytes : this.#limits.maxPacketBytes;
    if (messageBytes > limit) throw tooLarge(messageBytes, limit);
    this.#collectedLength = 0;
    this.#left = messageBytes;
    this.#mode = 'collect';
    if (messageBytes === 0) this.#finishCollecting();
    return messageStart;
  }

  /**
   * Reads what precedes the payload of a DATA packet whose fields come in the order of their
   * numbers, with the payload as the last. Returns where the payload starts, or 0 for any other
   * message.
   */
  #readDataHead(bytes: Uint8Array, start: number, end: number, messageBytes: number): number {
    if (end - start < 4) return 0;
    if (((bytes[start]! << 8) | bytes[start + 1]!) !== typeDataHead) return 0;
    if (bytes[start + 2] !== dataField) return 0;
    const messageEnd = start + messageBytes;
    let at = readVarint(bytes, start + 3, end);
    if (at < 0 || at + varintValue !== messageEnd) return 0;
    let connectId = 0;
    if (at < end && bytes[at] === connectIdField) {
      at = readVarint(bytes, at + 1, end);
      if (at < 0) return 0;
      connectId = checkConnectId(varintValue);
    }
    if (at === messageEnd) return this.#startPayload(connectId, 0, at);
    if (at >= end || bytes[at] !== payloadField) return 0;
    at = readVarint(bytes, at + 1, end);
    if (at < 0 || at + varintValue !== messageEnd) return 0;
    return this.#startPayload(connectId, varintValue, at);
  }

  #startPayload(connectId: number, payloadBytes: number, at: number): number {
    this.#counter?.add(PacketType.data);
    this.#connectId = connectId;
    this.#left = payloadBytes;
    this.#mode = payloadBytes > 0 ? 'payload' : 'head';
    return at;
  }

  #readBody(bytes: Uint8Array, at: number, end: number): number {
    const length = Math.min(this.#left, end - at);
    const piece = bytes.subarray(at, at + length);
    this.#left -= length;
    if (this.#mode === 'payload') {
      if (this.#left === 0) this.#mode = 'head';
      this.#handler.onPayload(this.#connectId, piece);
    } else if (this.#left === 0 && this.#collectedLength === 0) {
      // Almost every message comes in one piece and is not copied.
      this.#finish(piece);
    } else {
      this.#collect(piece);
      if (this.#left === 0) this.#finishCollecting();
    }
    return at + length;
  }

  /**
   * Grows with what has arrived and not with the announced length, because five bytes must not cost
   * a megabyte.
   */
  #collect(piece: Uint8Array): void {
    const length = this.#collectedLength + piece.length;
    if (length > this.#collected.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#collected.length, firstCollectBytes));
      grown.set(this.#collected.subarray(0, this.#collectedLength));
      this.#collected = grown;
    }
    this.#collected.set(piece, this.#collectedLength);
    this.#collectedLength = length;
  }

  #finishCollecting(): void {
    const message = this.#collected.subarray(0, this.#collectedLength);
    // A client sends few packets other than DATA, so the memory is not kept for the next.
    this.#collected = new Uint8Array(0);
    this.#finish(message);
  }

  #finish(message: Uint8Array): void {
    this.#mode = 'head';
    const packet = decodePacket(message);
    this.#counter?.addKind(packet.kind);
    if (packet.kind !== 'data') {
      if (message.length > this.#limits.maxPacketBytes) {
        throw tooLarge(message.length, this.#limits.maxPacketBytes);
      }
      this.#handler.onPacket(packet);
    } else if (packet.payload.length > 0) {
      this.#handler.onPayload(packet.connectId, packet.payload);
    }
  }
}

function messageBytesOf(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) >>> 0
  );
}

function headLengthOf(bytes: Uint8Array, at: number): number {
  return grpcPrefixBytes + Math.min(messageBytesOf(bytes, at), headBytes);
}

/** The value that the last `readVarint` found. A second result without an object per packet. */
let varintValue = 0;

/** Returns where the varint ends, or -1 if it does not end before `end` or is too long. */
function readVarint(bytes: Uint8Array, at: number, end: number): number {
  let scale = 1;
  varintValue = 0;
  for (const limit = Math.min(end, at + 10); at < limit; scale *= 128) {
    const byte = bytes[at++]!;
    varintValue += (byte & 0x7f) * scale;
    if (byte < 0x80) return at;
  }
  return -1;
}

function tooLarge(gotBytes: number, limitBytes: number): KonnectivityError {
  return new KonnectivityError(
    'packet_too_large',
    `a packet of ${gotBytes} bytes is longer than the limit of ${limitBytes}`,
  );
}
