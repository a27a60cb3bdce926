import type { Dialer } from '../dialer/dialer.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import { exchangeLimits } from './exchange-limits.ts';
import {
  decodeResponseHead,
  decodeTrailers,
  encodeRequestHead,
  encodeTrailers,
} from './head-codec.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpExchangeHandler,
  HttpExchangeOptions,
  OpenHttpExchange,
} from './http-exchange.ts';
import { malformedRecord, RecordType, writeBody, writeRecord } from './record.ts';
import { RecordReader, type RecordSink } from './record-reader.ts';
import { isUpgradeRequest } from './upgrade.ts';

/** Exchanges whose requests go through a dialer, each in a stream of its own. */
export function openHttpExchange(dialer: Dialer): OpenHttpExchange {
  return (options, handler) => new DialedExchange(dialer, options, handler);
}

class DialedExchange implements HttpExchange, StreamHandler, RecordSink {
  readonly #handler: HttpExchangeHandler;
  readonly #stream: TunnelStream;
  readonly #reader = new RecordReader(this);
  readonly #signal: AbortSignal | undefined;
  readonly #isUpgrade: boolean;
  readonly #hasBody: boolean;
  /** Pieces that were written before the stream was open; undefined: it is open. */
  #waiting: Uint8Array[] | undefined = [];
  #trailers: HeaderList | undefined;
  #isEnded = false;
  #informationalCount = 0;
  #hasHead = false;
  #hasTrailers = false;
  #isRaw = false;

  constructor(dialer: Dialer, options: HttpExchangeOptions, handler: HttpExchangeHandler) {
    const { cluster, server, credentials, head, hasBody, caller, trace, signal } = options;
    this.#handler = handler;
    this.#isUpgrade = isUpgradeRequest(head);
    this.#hasBody = hasBody;
    this.#signal = signal;
    const target = {
      kind: 'http',
      server,
      credentials,
      head: encodeRequestHead(head),
      hasBody,
    } as const;
    const isPatient = !hasBody && !this.#isUpgrade;
    this.#stream = dialer.open({ cluster, target, caller, trace, isPatient }, this);
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  write(bytes: Uint8Array): boolean {
    if (this.#waiting !== undefined) {
      this.#waiting.push(new Uint8Array(bytes));
      return false;
    }
    return this.#isRaw ? this.#stream.write(bytes) : writeBody(this.#stream, bytes);
  }

  end(trailers?: HeaderList): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#trailers = trailers;
    if (this.#waiting === undefined) this.#finish();
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  reset(error: TunnelError): void {
    this.#reader.stop();
    this.#stream.reset(error);
  }

  onOpened(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    let isWanted = true;
    for (const piece of waiting) isWanted = this.write(piece);
    if (this.#isEnded || (!this.#hasBody && !this.#isUpgrade)) this.#finish();
    else if (waiting.length > 0 && isWanted) this.#handler.onWritable();
  }

  onData(bytes: Uint8Array): void {
    try {
      const otherBytes = this.#reader.push(bytes);
      if (otherBytes > 0) this.#stream.consumed(otherBytes);
    } catch (thrown) {
      this.reset(TunnelError.from(thrown));
    }
  }

  onRecord(type: RecordType, payload: Uint8Array): void {
    if (type === RecordType.trailers) {
      if (!this.#hasHead || this.#hasTrailers) throw malformedRecord('sent trailers out of order');
      this.#hasTrailers = true;
      return this.#handler.onTrailers?.(decodeTrailers(payload));
    }
    if (this.#hasHead) throw malformedRecord('sent a second head');
    const head = decodeResponseHead(payload);
    const { status } = head;
    if (type === RecordType.informational) {
      if (status < 100 || status > 199 || status === 101) {
        throw malformedRecord(`sent the status ${status} as informational`);
      }
      if (++this.#informationalCount > exchangeLimits.maxInformational) {
        throw malformedRecord(
          `sent more than ${exchangeLimits.maxInformational} informational heads`,
        );
      }
      return this.#handler.onInformational?.(head);
    }
    if (status !== 101 && (status < 200 || status > 999)) {
      throw malformedRecord(`sent the status ${status}`);
    }
    if (status === 101) {
      if (!this.#isUpgrade) throw malformedRecord('sent the status 101, which was not requested');
      this.#isRaw = true;
      this.#reader.beginRaw();
    }
    this.#hasHead = true;
    this.#forgetSignal();
    // A request that was not upgraded has no body.
    if (this.#isUpgrade && !this.#isRaw) this.#finish();
    this.#handler.onHead(head);
  }

  onBody(bytes: Uint8Array): void {
    if (!this.#hasHead || this.#hasTrailers) throw malformedRecord('sent a body out of order');
    this.#handler.onData(bytes);
  }

  onFin(): void {
    const isComplete = this.#hasHead && this.#reader.isBetweenRecords;
    if (isComplete) this.#handler.onEnd();
    else this.reset(malformedRecord('ended its response too early'));
  }

  onWritable(): void {
    this.#handler.onWritable();
  }

  onStop(): void {
    this.#handler.onStop?.();
  }

  onClose(error: TunnelError | undefined): void {
    this.#reader.stop();
    this.#forgetSignal();
    this.#waiting = undefined;
    this.#handler.onClose(error);
  }

  readonly #onAbort = (): void => {
    const cause = this.#signal?.reason as unknown;
    this.reset(new TunnelError('cancelled', 'the request was aborted', { cause }));
  };

  #forgetSignal(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #finish(): void {
    const trailers = this.#trailers;
    try {
      if (trailers !== undefined && trailers.length > 0 && !this.#isRaw) {
        writeRecord(this.#stream, RecordType.trailers, encodeTrailers(trailers));
      }
      this.#stream.fin();
    } catch (thrown) {
      // A client chooses its trailers, so they must not end the process of the gateway.
      this.reset(TunnelError.from(thrown));
    }
  }
}
