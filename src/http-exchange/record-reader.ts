import { exchangeLimits } from './exchange-limits.ts';
import { malformedRecord, recordHeaderBytes, RecordType } from './record.ts';

export interface RecordSink {
  /** A complete HEAD, TRAILERS or INFORMATIONAL. `payload` is borrowed. May throw. */
  onRecord(type: RecordType, payload: Uint8Array): void;
  /** A piece of the body, or of the bytes of an upgraded connection. `bytes` is borrowed. */
  onBody(bytes: Uint8Array): void;
}

/** Splits the bytes of one direction of a stream into records, wherever they are cut. */
export class RecordReader {
  readonly #sink: RecordSink;
  /** The header of a record that has not arrived whole. */
  #header = 0;
  #headerBytes = 0;
  #type: RecordType = RecordType.body;
  /** Bytes of the record's payload that have not arrived. */
  #leftBytes = 0;
  /** A payload that came in pieces; empty: there is none. */
  #payload: Uint8Array | undefined;
  #isRaw = false;
  #isStopped = false;

  constructor(sink: RecordSink) {
    this.#sink = sink;
  }

  /** From the end of the present record, all bytes belong to the new protocol. */
  beginRaw(): void {
    this.#isRaw = true;
  }

  /** Drops everything from now on, because the exchange is over. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Whether the direction may end here. */
  get isBetweenRecords(): boolean {
    return this.#headerBytes === 0 && this.#leftBytes === 0;
  }

  /**
   * Takes all of `bytes`. Returns how many of them were not body: the reader of the body never
   * sees them, so their window is given back at once.
   *
   * @throws TunnelError `protocol_error` for bytes that are no records, or what the sink throws
   */
  push(bytes: Uint8Array): number {
    let at = 0;
    let bodyBytes = 0;
    while (at < bytes.length && !this.#isStopped) {
      if (this.#isRaw) {
        const rest = at === 0 ? bytes : bytes.subarray(at);
        this.#sink.onBody(rest);
        return at - bodyBytes;
      }
      if (this.#leftBytes === 0) {
        this.#header = this.#header * 256 + bytes[at++]!;
        if (++this.#headerBytes === recordHeaderBytes) this.#begin();
        continue;
      }
      const end = Math.min(bytes.length, at + this.#leftBytes);
      const piece = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end);
      at = end;
      if (this.#type === RecordType.body) {
        bodyBytes += piece.length;
        this.#leftBytes -= piece.length;
        this.#sink.onBody(piece);
      } else {
        this.#gather(piece);
      }
    }
    return bytes.length - bodyBytes;
  }

  #begin(): void {
    const header = this.#header;
    const type = Math.floor(header / 0x100_0000);
    const length = header % 0x100_0000;
    this.#header = 0;
    this.#headerBytes = 0;
    if (type < RecordType.head || type > RecordType.informational) {
      throw malformedRecord(`sent a record of the unknown type ${type}`);
    }
    this.#type = type as RecordType;
    if (this.#type !== RecordType.body) {
      const { maxHeadBytes } = exchangeLimits;
      if (length > maxHeadBytes) {
        throw malformedRecord(
          `sent a head of ${length} bytes, at most ${maxHeadBytes} are allowed`,
        );
      }
      if (length === 0) throw malformedRecord('sent a head without content');
    }
    this.#leftBytes = length;
  }

  #gather(piece: Uint8Array): void {
    let payload = piece;
    if (piece.length < this.#leftBytes || this.#payload !== undefined) {
      const whole = (this.#payload ??= new Uint8Array(this.#leftBytes));
      whole.set(piece, whole.length - this.#leftBytes);
      payload = whole;
    }
    this.#leftBytes -= piece.length;
    if (this.#leftBytes > 0) return;
    this.#payload = undefined;
    this.#sink.onRecord(this.#type, payload);
  }
}
