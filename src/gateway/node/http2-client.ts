import { atEndOfTurn, type TurnTask } from '../../base/end-of-turn.ts';
import { HpackEncoder } from '../../http2/hpack-encoder.ts';
import type { HeaderField as Http2Field } from '../../http2/hpack-static-table.ts';
import type { Http2ServerStream } from '../../http2/server-stream.ts';
import type { Http2StreamHandler } from '../../http2/stream-handler.ts';
import type { HeaderList, HttpResponseHead } from '../../http-exchange/http-exchange.ts';
import { fieldValues } from '../../http-exchange/upgrade.ts';
import type { ClientEvents, ClientSide } from './client-side.ts';
import { RequestBody } from './request-body.ts';

/** Fields that HTTP/2 responses do not have (RFC 9113, section 8.2.2), or of the WebSocket handshake. */
const notInHttp2: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'sec-websocket-accept',
]);

/** Bytes of an answer that wait for the client, beyond which the server has to wait. */
const maxUnsentBytes = 64 * 1024;

const encoder = new HpackEncoder();

/** The client's side of a request over HTTP/2. */
export class Http2Client implements ClientSide, Http2StreamHandler, TurnTask {
  readonly body: RequestBody;
  readonly #stream: Http2ServerStream;
  readonly #events: ClientEvents;
  readonly #onEnded: () => void;
  /** A head that waits for the end of the turn, because the answer may have no body. */
  #head: HttpResponseHead | undefined;
  #isHeldUp = false;
  #isUpgraded = false;

  /** @param onEnded called once, when the stream has ended */
  constructor(stream: Http2ServerStream, events: ClientEvents, onEnded: () => void) {
    this.#stream = stream;
    this.#events = events;
    this.#onEnded = onEnded;
    this.body = new RequestBody(stream, events);
  }

  inform({ status, headers }: HttpResponseHead): void {
    this.#stream.inform(blockOf(headers, status));
  }

  begin(head: HttpResponseHead): void {
    if (head.status > 599) throw new Error(`HTTP/2 has no status ${head.status}`);
    this.#head = head;
    atEndOfTurn(this);
  }

  endTurn(): void {
    this.#sendHead();
  }

  write(bytes: Uint8Array): boolean {
    const stream = this.#stream;
    this.#sendHead();
    stream.sendCopy(bytes);
    if (stream.queuedBytes <= maxUnsentBytes) return true;
    this.#isHeldUp = true;
    return false;
  }

  end(trailers: HeaderList | undefined): void {
    const head = this.#head;
    const hasTrailers = trailers !== undefined && trailers.length > 0;
    if (head !== undefined && !hasTrailers && !this.#isUpgraded) {
      this.#head = undefined;
      this.#stream.answer(headBlock(head));
      return;
    }
    this.#sendHead();
    const block = hasTrailers ? Uint8Array.from(blockOf(trailers)) : undefined;
    this.#stream.end(block, { keepsReading: this.#isUpgraded });
  }

  cut(): void {
    this.#stream.reset('INTERNAL_ERROR');
  }

  upgrade({ headers }: HttpResponseHead): undefined {
    this.#isUpgraded = true;
    this.begin({ status: 200, headers });
  }

  // The calls of the stream.

  onData(bytes: Uint8Array): void {
    this.body.push(bytes);
  }

  onEnd(trailers: readonly Http2Field[]): void {
    if (trailers.length > 0) {
      this.body.trailers = trailers.map(({ name, value }): [string, string] => [name, value]);
    }
    this.body.complete();
  }

  onSent(): void {
    if (!this.#isHeldUp || this.#stream.queuedBytes > maxUnsentBytes / 2) return;
    this.#isHeldUp = false;
    this.#events.onDrain();
  }

  onClose(isComplete: boolean): void {
    this.body.close();
    this.#head = undefined;
    this.#events.onClientClosed(isComplete);
    this.#onEnded();
  }

  #sendHead(): void {
    const head = this.#head;
    if (head === undefined) return;
    this.#head = undefined;
    this.#stream.respond(headBlock(head));
  }
}

/** The block of a final response. It is borrowed until the next one. */
function headBlock({ status, headers }: HttpResponseHead): Uint8Array {
  encoder.add(':status', String(status));
  addFields(headers);
  // RFC 9110, section 6.6.1.
  if (fieldValues(headers, 'date').length === 0) encoder.add('date', new Date().toUTCString());
  return encoder.take();
}

/** The block of an informational response, or of trailers. It is borrowed until the next one. */
function blockOf(headers: HeaderList, status?: number): Uint8Array {
  if (status !== undefined) encoder.add(':status', String(status));
  addFields(headers);
  return encoder.take();
}

/** Adds the fields, whose names are in lower case in HTTP/2. */
function addFields(headers: HeaderList): void {
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (!notInHttp2.has(lower)) encoder.add(lower, value);
  }
}
