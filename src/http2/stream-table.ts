import { Http2Error } from './http2-error.ts';
import type { Http2ServerStream } from './server-stream.ts';

/** Streams that we have ended first and whose late frames are ignored. The oldest is forgotten. */
const maxEndedByUs = 1000;

/** The streams of a connection by their id. Clients open them with odd, increasing ids. */
export class StreamTable {
  readonly #streams = new Map<number, Http2ServerStream>();
  readonly #endedByUs = new Set<number>();
  #lastId = 0;

  /** Open streams. */
  get size(): number {
    return this.#streams.size;
  }

  /** The highest id that the client has used. */
  get lastId(): number {
    return this.#lastId;
  }

  values(): Iterable<Http2ServerStream> {
    return this.#streams.values();
  }

  get(id: number): Http2ServerStream | undefined {
    return this.#streams.get(id);
  }

  /** Notes that the client uses a new id. False: it has been used, or passed over. */
  use(id: number): boolean {
    if (id <= this.#lastId) return false;
    this.#lastId = id;
    return true;
  }

  add(stream: Http2ServerStream): void {
    this.#streams.set(stream.id, stream);
  }

  remove(id: number): void {
    this.#streams.delete(id);
  }

  /** Frames for this stream may be on their way, and are no errors. */
  endedByUs(id: number): void {
    this.#endedByUs.add(id);
    if (this.#endedByUs.size <= maxEndedByUs) return;
    const [oldest] = this.#endedByUs;
    this.#endedByUs.delete(oldest!);
  }

  isEndedByUs(id: number): boolean {
    return this.#endedByUs.has(id);
  }

  /**
   * The stream of a frame, undefined when it has ended.
   *
   * @throws Http2Error the client has never opened it
   */
  find(id: number, frame: string): Http2ServerStream | undefined {
    const stream = this.#streams.get(id);
    if (stream !== undefined || (id % 2 === 1 && id <= this.#lastId)) return stream;
    throw new Http2Error('PROTOCOL_ERROR', `${frame} for stream ${id}, which was never open`);
  }

  /** Removes and returns all open streams. */
  takeAll(): Http2ServerStream[] {
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    return streams;
  }
}
