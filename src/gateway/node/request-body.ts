import { GrowingBytes } from '../../base/growing-bytes.ts';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';

/** What a body arrives on: a connection of HTTP/1.1, or a stream of HTTP/2. */
interface BodySource {
  pause(): void;
  resume(): void;
}

/** Events of a body. They come once it is read. */
export interface BodyEvents {
  /** A piece of the body. Borrowed: valid until this returns. */
  onBody(bytes: Uint8Array): void;
  onBodyEnd(trailers: HeaderList | undefined): void;
}

/**
 * The body of a client's request. It is held until the request is admitted. Then it is read, or it
 * is dropped because the server does not want it or because the request has ended.
 */
export class RequestBody {
  trailers: HeaderList | undefined;
  readonly #source: BodySource;
  readonly #events: BodyEvents;
  #state: 'held' | 'read' | 'dropped' = 'held';
  /** The part that came while the body was held. */
  #early: GrowingBytes | undefined;
  #isComplete = false;

  constructor(source: BodySource, events: BodyEvents) {
    this.#source = source;
    this.#events = events;
  }

  // The calls of the reader.

  /** Starts to read, also a body that is empty. Idempotent. */
  read(): void {
    if (this.#state !== 'held') return;
    this.#state = 'read';
    const early = this.#early?.take();
    this.#early = undefined;
    this.#source.resume();
    if (early !== undefined) this.#events.onBody(early);
    if (this.#isComplete) this.#events.onBodyEnd(this.trailers);
  }

  /** A source that has brought all of the body goes on, so that it shows when its client leaves. */
  pause(): void {
    if (!this.#isComplete) this.#source.pause();
  }

  resume(): void {
    if (this.#state === 'read') this.#source.resume();
  }

  /** The server wants no more of the body. The source goes on, and its bytes are dropped. */
  drop(): void {
    this.close();
    this.#source.resume();
  }

  // The calls of the client's side.

  /** A piece has arrived. Borrowed: valid until this returns. */
  push(bytes: Uint8Array): void {
    if (this.#state === 'read') {
      this.#events.onBody(bytes);
    } else if (this.#state === 'held') {
      this.#early ??= new GrowingBytes();
      this.#early.append(bytes);
      this.#source.pause();
    }
  }

  /** All of the body has arrived, and its `trailers` are known. */
  complete(): void {
    this.#isComplete = true;
    if (this.#state === 'read') this.#events.onBodyEnd(this.trailers);
  }

  /** The request has ended. What still arrives is dropped. */
  close(): void {
    this.#state = 'dropped';
    this.#early = undefined;
  }
}
