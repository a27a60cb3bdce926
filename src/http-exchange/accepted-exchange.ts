import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import { decodeTrailers, encodeResponseHead, encodeTrailers } from './head-codec.ts';
import type { HeaderList, HttpResponseHead } from './http-exchange.ts';
import { malformedRecord, RecordType, writeBody, writeRecord } from './record.ts';
import { RecordReader, type RecordSink } from './record-reader.ts';

/** Receives the request's body. Never called from inside a method of the exchange. */
export interface AcceptedExchangeHandler {
  /** A piece of the request's body, borrowed. */
  onData(bytes: Uint8Array): void;
  onTrailers(trailers: HeaderList): void;
  /** The request's body is complete. */
  onEnd(): void;
  /** A method that writes returned false before, and there is room again. */
  onWritable(): void;
  /** The caller reads no more of the response. */
  onStop(): void;
  /** The last call. No error: both directions ended in order. */
  onClose(error: TunnelError | undefined): void;
}

/** The end of an exchange that makes the request. The stream has to be accepted separately. */
export class AcceptedExchange implements StreamHandler, RecordSink {
  readonly #stream: TunnelStream;
  readonly #handler: AcceptedExchangeHandler;
  readonly #reader = new RecordReader(this);
  readonly #hasBody: boolean;
  #hasTrailers = false;
  #isRequestComplete = false;
  /** The handler of both directions after an upgrade. */
  #upgraded: StreamHandler | undefined;

  /** @param hasBody `HttpTarget.hasBody`; without one, any record is a breach */
  constructor(stream: TunnelStream, hasBody: boolean, handler: AcceptedExchangeHandler) {
    this.#stream = stream;
    this.#hasBody = hasBody;
    this.#handler = handler;
  }

  /**
   * Sends an informational head.
   *
   * @throws TunnelError `protocol_error` the head cannot be encoded
   */
  sendInformational(head: HttpResponseHead): void {
    writeRecord(this.#stream, RecordType.informational, encodeResponseHead(head));
  }

  /**
   * Sends the response's head. False: stop until `onWritable`.
   *
   * @throws TunnelError `protocol_error` the head cannot be encoded
   */
  sendHead(head: HttpResponseHead): boolean {
    return writeRecord(this.#stream, RecordType.head, encodeResponseHead(head));
  }

  /**
   * Sends the head with status 101. From now on all bytes of the stream, in both directions, belong
   * to `handler`, which uses the stream itself.
   *
   * @throws TunnelError `protocol_error` the head cannot be encoded
   */
  upgrade(head: HttpResponseHead, handler: StreamHandler): boolean {
    const isWanted = this.sendHead(head);
    this.#upgraded = handler;
    return isWanted;
  }

  /** Sends a piece of the response's body, which is copied. False: stop until `onWritable`. */
  write(bytes: Uint8Array): boolean {
    return writeBody(this.#stream, bytes);
  }

  /** The response is complete, and no more of the request is read. */
  end(trailers?: HeaderList): void {
    if (trailers !== undefined && trailers.length > 0) {
      writeRecord(this.#stream, RecordType.trailers, encodeTrailers(trailers));
    }
    this.#stream.fin();
    if (this.#hasBody && !this.#isRequestComplete) this.#stream.stopReceiving();
  }

  /** Gives back window, because the server has taken `bytes` of what `onData` brought. */
  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  /** Cuts the exchange, so that the caller does not take its response for complete. */
  reset(error: TunnelError): void {
    this.#reader.stop();
    this.#stream.reset(error);
  }

  onData(bytes: Uint8Array): void {
    if (this.#upgraded !== undefined) return this.#upgraded.onData(bytes);
    try {
      const otherBytes = this.#reader.push(bytes);
      if (otherBytes > 0) this.#stream.consumed(otherBytes);
    } catch (thrown) {
      this.reset(TunnelError.from(thrown));
    }
  }

  onRecord(type: RecordType, payload: Uint8Array): void {
    if (type !== RecordType.trailers || this.#hasTrailers || !this.#hasBody) {
      throw malformedRecord('sent a head in place of a body');
    }
    this.#hasTrailers = true;
    this.#handler.onTrailers(decodeTrailers(payload));
  }

  onBody(bytes: Uint8Array): void {
    if (this.#hasTrailers || !this.#hasBody) throw malformedRecord('sent a body out of order');
    this.#handler.onData(bytes);
  }

  onFin(): void {
    if (this.#upgraded !== undefined) return this.#upgraded.onFin();
    this.#isRequestComplete = true;
    if (this.#reader.isBetweenRecords) this.#handler.onEnd();
    else this.reset(malformedRecord('ended its request in the middle'));
  }

  onWritable(): void {
    if (this.#upgraded === undefined) this.#handler.onWritable();
    else this.#upgraded.onWritable();
  }

  onStop(): void {
    if (this.#upgraded === undefined) this.#handler.onStop();
    else this.#upgraded.onStop?.();
  }

  onClose(error: TunnelError | undefined): void {
    this.#reader.stop();
    this.#upgraded?.onClose(error);
    this.#handler.onClose(error);
  }
}
