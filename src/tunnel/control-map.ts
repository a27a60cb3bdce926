import { TunnelError } from './errors.ts';
import { frameName, type FrameType } from './frame.ts';
import { controlMapLimits } from './limits.ts';

/**
 * A field's value. No message has a nested map: those are skipped and read as null. Binary data is
 * borrowed from the payload.
 */
export type ControlValue = null | boolean | number | string | Uint8Array | readonly ControlValue[];

/** The fields of a control frame by their names. */
export type ControlMap = ReadonlyMap<string, ControlValue>;

/**
 * Text up to this length is decoded without a `TextDecoder` if it is ASCII, which is faster. In
 * bytes.
 */
const shortTextBytes = 48;

const utf8 = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

/**
 * Decodes the payload of a control frame. It accepts the subset of MessagePack that the protocol
 * uses (docs/protocol.md, "Messages") and nothing else, because the work of a general decoder
 * depends on more than the size of the payload. Time and memory are proportional to the size of the
 * payload, whatever it contains.
 *
 * @throws TunnelError `protocol_error` the payload is not one map within `controlMapLimits`
 */
export function decodeControlMap(type: FrameType, payload: Uint8Array): ControlMap {
  return new ControlMapDecoder(type, payload).decode();
}

/**
 * The error for a payload that the protocol does not allow. `problem` follows "payload of HELLO".
 */
export function malformed(type: FrameType, problem: string): TunnelError {
  return new TunnelError('protocol_error', `payload of ${frameName(type)} ${problem}`);
}

class ControlMapDecoder {
  readonly #type: FrameType;
  readonly #bytes: Uint8Array;
  #at = 0;
  #values = 0;
  /** Made when a payload has a float or a 64-bit number. */
  #view: DataView | undefined;

  constructor(type: FrameType, bytes: Uint8Array) {
    this.#type = type;
    this.#bytes = bytes;
  }

  decode(): ControlMap {
    const fields = new Map<string, ControlValue>();
    const count = this.#mapLength(this.#byte());
    if (count === undefined) throw this.#malformed('is not a map');
    if (count > controlMapLimits.maxFields) {
      const { maxFields } = controlMapLimits;
      throw this.#malformed(`has ${count} fields, at most ${maxFields} are allowed`);
    }
    for (let field = 0; field < count; field++) {
      const name = this.#key();
      if (fields.has(name)) throw this.#malformed('has two fields of the same name');
      fields.set(name, this.#value(2));
    }
    if (this.#at < this.#bytes.length) throw this.#malformed('has bytes behind the map');
    return fields;
  }

  /** @param depth how deep the value is, the outermost map being 1 */
  #value(depth: number): ControlValue {
    if (++this.#values > controlMapLimits.maxValues) {
      throw this.#malformed(`has more than ${controlMapLimits.maxValues} values`);
    }
    const head = this.#byte();
    if (head <= 0x7f) return head;
    if (head >= 0xe0) return head - 0x100;
    const textBytes = this.#textLength(head);
    if (textBytes !== undefined) return this.#text(textBytes);
    const items = this.#listLength(head);
    if (items !== undefined) return this.#list(items, depth);
    const pairs = this.#mapLength(head);
    if (pairs !== undefined) return this.#skipMap(pairs, depth);
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#unsigned(1));
      case 0xc5:
        return this.#binary(this.#unsigned(2));
      case 0xc6:
        return this.#binary(this.#unsigned(4));
      default:
        return this.#number(head);
    }
  }

  #number(head: number): number {
    switch (head) {
      case 0xca:
        return this.#dataView.getFloat32(this.#advance(4));
      case 0xcb:
        return this.#dataView.getFloat64(this.#advance(8));
      case 0xcc:
        return this.#unsigned(1);
      case 0xcd:
        return this.#unsigned(2);
      case 0xce:
        return this.#unsigned(4);
      // Beyond 2^53 the result is not exact. Every field has a limit below that.
      case 0xcf:
        return this.#unsigned(4) * 2 ** 32 + this.#unsigned(4);
      case 0xd0:
        return (this.#unsigned(1) << 24) >> 24;
      case 0xd1:
        return (this.#unsigned(2) << 16) >> 16;
      case 0xd2:
        return this.#unsigned(4) | 0;
      case 0xd3:
        return (this.#unsigned(4) | 0) * 2 ** 32 + this.#unsigned(4);
      case 0xc1:
        throw this.#malformed('is not MessagePack');
      default:
        throw this.#malformed('has an extension type, which no message uses');
    }
  }

  #list(items: number, depth: number): ControlValue[] {
    this.#enter(items, depth);
    const list: ControlValue[] = [];
    for (let item = 0; item < items; item++) list.push(this.#value(depth + 1));
    return list;
  }

  #skipMap(pairs: number, depth: number): null {
    this.#enter(2 * pairs, depth);
    for (let pair = 0; pair < pairs; pair++) {
      this.#key();
      this.#value(depth + 1);
    }
    return null;
  }

  /** A list or map begins: checks its depth and its length (each value has at least one byte). */
  #enter(announced: number, depth: number): void {
    if (depth > controlMapLimits.maxDepth) {
      throw this.#malformed(`is nested deeper than ${controlMapLimits.maxDepth}`);
    }
    if (announced > this.#bytes.length - this.#at) throw this.#endsEarly();
  }

  #key(): string {
    const length = this.#textLength(this.#byte());
    if (length === undefined) throw this.#malformed('has a name that is not text');
    return this.#text(length);
  }

  #textLength(head: number): number | undefined {
    if (head >= 0xa0 && head <= 0xbf) return head & 0x1f;
    if (head === 0xd9) return this.#unsigned(1);
    if (head === 0xda) return this.#unsigned(2);
    return head === 0xdb ? this.#unsigned(4) : undefined;
  }

  #listLength(head: number): number | undefined {
    if (head >= 0x90 && head <= 0x9f) return head & 0x0f;
    if (head === 0xdc) return this.#unsigned(2);
    return head === 0xdd ? this.#unsigned(4) : undefined;
  }

  #mapLength(head: number): number | undefined {
    if (head >= 0x80 && head <= 0x8f) return head & 0x0f;
    if (head === 0xde) return this.#unsigned(2);
    return head === 0xdf ? this.#unsigned(4) : undefined;
  }

  #text(length: number): string {
    const start = this.#advance(length);
    const end = this.#at;
    if (length <= shortTextBytes) {
      let text = '';
      let at = start;
      while (at < end && this.#bytes[at]! < 0x80) text += String.fromCharCode(this.#bytes[at++]!);
      if (at === end) return text;
    }
    return utf8.decode(this.#bytes.subarray(start, end));
  }

  #binary(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, this.#at);
  }

  #unsigned(bytes: 1 | 2 | 4): number {
    const end = this.#advance(bytes) + bytes;
    let value = 0;
    for (let at = end - bytes; at < end; at++) value = value * 256 + this.#bytes[at]!;
    return value;
  }

  #byte(): number {
    return this.#bytes[this.#advance(1)]!;
  }

  /** Moves on by `length` bytes and returns where they begin. */
  #advance(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw this.#endsEarly();
    this.#at = start + length;
    return start;
  }

  get #dataView(): DataView {
    const { buffer, byteOffset, byteLength } = this.#bytes;
    return (this.#view ??= new DataView(buffer, byteOffset, byteLength));
  }

  #endsEarly(): TunnelError {
    return this.#malformed('ends early');
  }

  #malformed(problem: string): TunnelError {
    return malformed(this.#type, problem);
  }
}
