import { type HeaderField, staticTable } from './hpack-static-table.ts';

/** A name of the static table: its first index, and the index of each of its values. */
interface StaticName {
  readonly index: number;
  readonly indexOfValue: Map<string, number>;
}

const staticNames = new Map<string, StaticName>();
for (const [at, { name, value }] of staticTable.entries()) {
  const index = at + 1;
  let known = staticNames.get(name);
  if (known === undefined) staticNames.set(name, (known = { index, indexOfValue: new Map() }));
  // An empty value in the table means that the table has only the name.
  if (value !== '') known.indexOfValue.set(value, index);
}

// The first bits of a representation, and the largest value of a prefix (RFC 7541, section 6).
const indexed = 0x80;
const indexedPrefix = 0x7f;
const literalPrefix = 0x0f;
const lengthPrefix = 0x7f;

/** An index and two lengths, of six bytes each. An integer of 32 bits is not longer. */
const maxIntegersBytes = 3 * 6;

/** Longer texts are written by the runtime, which is slower for short ones. */
const maxLoopChars = 24;

const initialBytes = 4096;
/** A larger block is given up, because heads of usual length are far smaller. */
const maxKeptBytes = 64 * 1024;

/**
 * Encodes header blocks with the static table alone: no state of the connection, no Huffman codes.
 * So the same fields give the same bytes on every connection. Names must be in lower case. Names and
 * values are latin1.
 */
export class HpackEncoder {
  #block = Buffer.allocUnsafeSlow(initialBytes);
  #at = 0;

  /** Adds a field to the block. */
  add(name: string, value: string): void {
    this.#reserve(name.length + value.length + maxIntegersBytes);
    const known = staticNames.get(name);
    const index = known?.indexOfValue.get(value);
    if (index !== undefined) {
      this.#integer(indexed, indexedPrefix, index);
      return;
    }
    this.#integer(0, literalPrefix, known?.index ?? 0);
    if (known === undefined) this.#text(name);
    this.#text(value);
  }

  /** Ends the block. It is borrowed: valid until the next call of `add`. */
  take(): Uint8Array {
    const block = this.#block.subarray(0, this.#at);
    if (this.#block.length > maxKeptBytes) this.#block = Buffer.allocUnsafeSlow(initialBytes);
    this.#at = 0;
    return block;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#block.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * needed);
    larger.set(this.#block.subarray(0, this.#at));
    this.#block = larger;
  }

  #text(text: string): void {
    const { length } = text;
    this.#integer(0, lengthPrefix, length);
    const block = this.#block;
    if (length > maxLoopChars) {
      this.#at += block.write(text, this.#at, 'latin1');
      return;
    }
    let at = this.#at;
    for (let index = 0; index < length; index++) block[at++] = text.charCodeAt(index);
    this.#at = at;
  }

  /** Writes an integer with `flags` above its prefix (RFC 7541, section 5.1). */
  #integer(flags: number, prefix: number, value: number): void {
    const block = this.#block;
    if (value < prefix) {
      block[this.#at++] = flags | value;
      return;
    }
    block[this.#at++] = flags | prefix;
    let rest = value - prefix;
    for (; rest >= 0x80; rest >>>= 7) block[this.#at++] = (rest & 0x7f) | 0x80;
    block[this.#at++] = rest;
  }
}

const shared = new HpackEncoder();

/** Encodes a header block that the caller may keep. */
export function encodeHeaders(fields: readonly HeaderField[]): Uint8Array {
  for (const { name, value } of fields) shared.add(name, value);
  return new Uint8Array(shared.take());
}
