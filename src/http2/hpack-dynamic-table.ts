import { fieldBytes, type HeaderField } from './hpack-static-table.ts';

/**
 * The slots of a new table. A power of two, so that positions wrap with a mask. They are copied,
 * because to make them anew takes ten times as long.
 */
const emptySlots: readonly (HeaderField | undefined)[] = Array.from({ length: 16 });

/** The fields that a peer has sent last, up to a size (RFC 7541, section 2.3.2). A ring. */
export class DynamicTable {
  #slots = emptySlots.slice();
  /** The position of the newest field. */
  #newest = 0;
  #count = 0;
  #bytes = 0;
  #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The field at `index`: 0 is the newest. */
  get(index: number): HeaderField | undefined {
    return index < this.#count ? this.#slots[this.#slotOf(index)] : undefined;
  }

  /** Changes the size, and evicts the oldest fields that do not fit any more. */
  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  /**
   * Adds the newest field, and evicts the oldest ones that do not fit beside it. A field that is
   * larger than the table empties it (RFC 7541, section 4.4).
   */
  add(field: HeaderField): void {
    const bytes = fieldBytes(field);
    this.#evict(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    if (this.#count === this.#slots.length) this.#grow();
    this.#newest = (this.#newest - 1) & (this.#slots.length - 1);
    this.#slots[this.#newest] = field;
    this.#count++;
    this.#bytes += bytes;
  }

  #evict(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.#count > 0) {
      const oldest = this.#slotOf(--this.#count);
      this.#bytes -= fieldBytes(this.#slots[oldest]!);
      this.#slots[oldest] = undefined;
    }
  }

  #grow(): void {
    const fields = this.#slots.map((_, index) => this.#slots[this.#slotOf(index)]);
    this.#slots = [...fields, ...Array.from<undefined>({ length: fields.length })];
    this.#newest = 0;
  }

  #slotOf(index: number): number {
    return (this.#newest + index) & (this.#slots.length - 1);
  }
}
