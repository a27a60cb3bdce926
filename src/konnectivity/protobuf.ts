import { KonnectivityError } from './konnectivity-error.ts';

/**
 * The wire types of protobuf that konnectivity's packets can hold; groups (3 and 4) are not among
 * them.
 */
export const WireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** The longest varint: 64 bits in groups of seven. */
export const maxVarintBytes = 10;

/**
 * Reads one protobuf message that is there as a whole. Every method throws KonnectivityError
 * `malformed_packet`.
 */
export class ProtoReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get more(): boolean {
    return this.#at < this.#bytes.length;
  }

  /** A varint as a number: exact up to 2^53, beyond that only known to be larger. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < maxVarintBytes; count++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new KonnectivityError(
      'malformed_packet',
      `a varint is longer than ${maxVarintBytes} bytes`,
    );
  }

  /** A varint as the 64 bits that it stands for. */
  varint64(): bigint {
    let value = 0n;
    for (let count = 0; count < maxVarintBytes; count++) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << BigInt(7 * count);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new KonnectivityError(
      'malformed_packet',
      `a varint is longer than ${maxVarintBytes} bytes`,
    );
  }

  /** A length-delimited field, as a view. */
  bytes(): Uint8Array {
    const length = this.varint();
    const start = this.#at;
    this.#advance(length);
    return this.#bytes.subarray(start, this.#at);
  }

  skip(wireType: number): void {
    switch (wireType) {
      case WireType.varint:
        this.varint();
        return;
      case WireType.fixed64:
        this.#advance(8);
        return;
      case WireType.bytes:
        this.#advance(this.varint());
        return;
      case WireType.fixed32:
        this.#advance(4);
        return;
      default:
        throw new KonnectivityError('malformed_packet', `a field has wire type ${wireType}`);
    }
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined)
      throw new KonnectivityError('malformed_packet', 'a packet ends within a field');
    return byte;
  }

  #advance(length: number): void {
    if (length > this.#bytes.length - this.#at) {
      throw new KonnectivityError(
        'malformed_packet',
        `a field of ${length} bytes is longer than the packet that holds it`,
      );
    }
    this.#at += length;
  }
}

/** How many bytes `value`, an integer from 0 to 2^53 - 1, takes as a varint. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** Writes a varint at `at`; returns where the next byte goes. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) into[at++] = (rest % 128) | 0x80;
  into[at++] = rest;
  return at;
}

/** Writes 64 bits as a varint at `at`; returns where the next byte goes. */
export function writeVarint64(into: Uint8Array, at: number, value: bigint): number {
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 128n; rest >>= 7n) into[at++] = Number(rest & 0x7fn) | 0x80;
  into[at++] = Number(rest);
  return at;
}
