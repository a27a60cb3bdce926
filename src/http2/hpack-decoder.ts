import { fieldBytes, type HeaderField, staticTable } from './hpack-static-table.ts';
import { DynamicTable } from './hpack-dynamic-table.ts';
import { Http2Error } from './http2-error.ts';
import { decodeHuffman } from './huffman.ts';

/** The limits of a decoder, in bytes. */
export interface HpackLimits {
  /**
   * The dynamic table's largest size: our SETTINGS_HEADER_TABLE_SIZE. At least 4096, because a
   * client may use that much before it knows our SETTINGS.
   */
  readonly maxTableBytes: number;
  /**
   * The largest header list: our SETTINGS_MAX_HEADER_LIST_SIZE. A field counts as the lengths of its
   * name and value and 32 (RFC 9113, section 10.5.1).
   */
  readonly maxHeaderListBytes: number;
}

/** SETTINGS_HEADER_TABLE_SIZE of a connection without SETTINGS (RFC 9113, section 6.5.2). */
const initialTableBytes = 4096;

/**
 * The longest integer: a prefix and four bytes, up to 2^28. Tables and strings are far smaller, and
 * RFC 7541, section 5.1 asks for a limit.
 */
const maxIntegerShift = 28;

// The first bits of a field's representation (RFC 7541, section 6).
const indexed = 0x80;
const literalWithIndexing = 0x40;
const tableSizeUpdate = 0x20;
const isHuffman = 0x80;

/** Decodes the header blocks of one connection, in the order of their arrival (RFC 7541). */
export class HpackDecoder {
  readonly #limits: HpackLimits;
  readonly #table = new DynamicTable(initialTableBytes);
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(limits: HpackLimits) {
    if (limits.maxTableBytes < initialTableBytes) {
      throw new RangeError(`maxTableBytes: ${limits.maxTableBytes} is below ${initialTableBytes}`);
    }
    this.#limits = limits;
  }

  /**
   * Decodes a complete header block: the fragments of HEADERS and its CONTINUATIONs, joined. Fields
   * keep their order, and repeated names stay separate fields. The result holds no reference to
   * `block`. Names and values are not checked against HTTP's syntax.
   *
   * The caller limits the size of a block, because the work of `decode` is proportional to it. A
   * field of the table costs the block one byte, but is shared, so no memory is multiplied.
   *
   * @throws {Http2Error} with scope `connection`: `COMPRESSION_ERROR` for a malformed block. The
   *   decoder cannot be used after that. With scope `stream`: `ENHANCE_YOUR_CALM` if the list is
   *   larger than `maxHeaderListBytes`. The whole block has been decoded then, so the table is
   *   right and the connection can continue.
   */
  decode(block: Uint8Array): HeaderField[] {
    this.#block = Buffer.isBuffer(block)
      ? block
      : Buffer.from(block.buffer, block.byteOffset, block.length);
    this.#at = 0;
    this.#sizeUpdates();
    const { maxHeaderListBytes } = this.#limits;
    const fields: HeaderField[] = [];
    let listBytes = 0;
    while (this.#at < this.#block.length) {
      const field = this.#field();
      listBytes += fieldBytes(field);
      if (listBytes <= maxHeaderListBytes) fields.push(field);
    }
    if (listBytes <= maxHeaderListBytes) return fields;
    throw new Http2Error(
      'ENHANCE_YOUR_CALM',
      `a header list of ${listBytes} bytes exceeds ${maxHeaderListBytes} bytes`,
      'stream',
    );
  }

  /** Changes of the table's size come before all fields (RFC 7541, section 4.2). */
  #sizeUpdates(): void {
    while (this.#at < this.#block.length) {
      const first = this.#block[this.#at]!;
      if (first < tableSizeUpdate || first >= literalWithIndexing) return;
      const bytes = this.#integer(0x1f);
      const { maxTableBytes } = this.#limits;
      if (bytes > maxTableBytes) {
        throw malformed(`sets the table's size to ${bytes} bytes, the limit is ${maxTableBytes}`);
      }
      this.#table.resize(bytes);
    }
  }

  #field(): HeaderField {
    const first = this.#block[this.#at]!;
    if (first >= indexed) return this.#fieldAt(this.#integer(0x7f));
    if (first >= literalWithIndexing) {
      const field = this.#literal(0x3f);
      this.#table.add(field);
      return field;
    }
    if (first >= tableSizeUpdate) throw malformed("changes the table's size after a field");
    // Literals without indexing, and literals that a proxy must never index. We pass on neither.
    return this.#literal(0x0f);
  }

  #literal(prefix: number): HeaderField {
    const index = this.#integer(prefix);
    const name = index === 0 ? this.#string() : this.#fieldAt(index).name;
    return { name, value: this.#string() };
  }

  #fieldAt(index: number): HeaderField {
    const field =
      index <= staticTable.length
        ? staticTable[index - 1]
        : this.#table.get(index - staticTable.length - 1);
    if (field === undefined) throw malformed(`refers to index ${index}, which is not in a table`);
    return field;
  }

  /** An integer whose first byte holds as many bits as `prefix` has (RFC 7541, section 5.1). */
  #integer(prefix: number): number {
    const bits = this.#byte() & prefix;
    if (bits < prefix) return bits;
    let value = prefix;
    for (let shift = 0; shift < maxIntegerShift; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed('contains an integer above 2^28');
  }

  #string(): string {
    const huffman = (this.#peek() & isHuffman) !== 0;
    const length = this.#integer(0x7f);
    const start = this.#at;
    const end = start + length;
    if (end > this.#block.length) {
      throw malformed(`ends inside a string of ${length} bytes`);
    }
    this.#at = end;
    return huffman
      ? decodeHuffman(this.#block, start, end)
      : this.#block.toString('latin1', start, end);
  }

  #peek(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw malformed('ends inside a field');
    return byte;
  }

  #byte(): number {
    const byte = this.#peek();
    this.#at++;
    return byte;
  }
}

function malformed(problem: string): Http2Error {
  return new Http2Error('COMPRESSION_ERROR', `a header block ${problem}`);
}
