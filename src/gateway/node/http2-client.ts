import { constants, type ServerHttp2Stream } from 'node:http2';
import { atEndOfTurn, type TurnTask } from '../../base/end-of-turn.ts';
import type { HeaderList, HttpResponseHead } from '../../http-exchange/http-exchange.ts';
import type { ClientEvents, ClientSide } from './client-side.ts';

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;

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

/** The client's side of a request over HTTP/2. */
export class Http2Client implements ClientSide, TurnTask {
  readonly #stream: ServerHttp2Stream;
  readonly #events: ClientEvents;
  readonly #hasBody: boolean;
  #trailers: HeaderList | undefined;
  #isHeld = false;
  #head: HttpResponseHead | undefined;
  #isComplete = false;

  constructor(stream: ServerHttp2Stream, hasBody: boolean, events: ClientEvents) {
    this.#stream = stream;
    this.#events = events;
    this.#hasBody = hasBody;
    // Without a listener, an error of the stream would end the process. `close` follows.
    stream.on('error', () => {});
    stream.on('close', () => {
      events.onClientClosed(this.#isComplete && stream.rstCode === NGHTTP2_NO_ERROR);
    });
    stream.on('finish', () => (this.#isComplete = true));
  }

  inform({ status, headers }: HttpResponseHead): void {
    const stream = this.#stream;
    if (stream.headersSent || stream.destroyed) return;
    const fields = { ...Object.fromEntries(fieldsOf(headers)), ':status': status };
    this.#orCut(() => stream.additionalHeaders(fields));
  }

  begin(head: HttpResponseHead): void {
    if (head.status > 599) throw new Error(`HTTP/2 has no status ${head.status}`);
    this.#head = head;
    atEndOfTurn(this);
  }

  endTurn(): void {
    this.#sendHead(false);
  }

  write(bytes: Uint8Array): boolean {
    this.#sendHead(false);
    const stream = this.#stream;
    if (stream.destroyed) return true;
    const hasRoom = stream.write(Buffer.from(bytes));
    if (!hasRoom && !this.#isHeld) {
      this.#isHeld = true;
      stream.once('drain', () => {
        this.#isHeld = false;
        this.#events.onDrain();
      });
    }
    return hasRoom;
  }

  end(trailers: HeaderList | undefined): void {
    const stream = this.#stream;
    this.#trailers = trailers;
    const endsWithHead = this.#head !== undefined && trailers === undefined;
    this.#sendHead(endsWithHead);
    if (endsWithHead) this.#isComplete = true;
    else stream.end();
  }

  cut(): void {
    this.#stream.close(NGHTTP2_INTERNAL_ERROR);
  }

  upgrade({ headers }: HttpResponseHead): undefined {
    this.begin({ status: 200, headers });
  }

  readBody(): void {
    const stream = this.#stream;
    if (!this.#hasBody) {
      stream.resume();
      this.#events.onBodyEnd(undefined);
      return;
    }
    let trailers: HeaderList | undefined;
    stream.on('trailers', (fields: Record<string, string | readonly string[]>) => {
      trailers = Object.entries(fields).flatMap(([name, value]) =>
        (typeof value === 'string' ? [value] : value).map((one): [string, string] => [name, one]),
      );
    });
    stream.on('data', (bytes: Buffer) => this.#events.onBody(bytes));
    stream.on('end', () => this.#events.onBodyEnd(trailers));
  }

  pauseBody(): void {
    this.#stream.pause();
  }

  resumeBody(): void {
    this.#stream.resume();
  }

  dropBody(): void {
    this.#stream.removeAllListeners('data');
    this.#stream.resume();
  }

  #sendHead(endsStream: boolean): void {
    const head = this.#head;
    const stream = this.#stream;
    this.#head = undefined;
    if (head === undefined || stream.destroyed || stream.closed) return;
    const fields = fieldsOf(head.headers);
    // Trailers may follow every body.
    const list = [':status', head.status, ...fields.flat()] as unknown as string[];
    this.#orCut(() =>
      stream.respond(list, { endStream: endsStream, waitForTrailers: !endsStream }),
    );
    if (endsStream || stream.destroyed) return;
    stream.on('wantTrailers', () => {
      // Without fields, this ends the stream with an empty DATA frame.
      const trailers = Object.fromEntries(fieldsOf(this.#trailers ?? []));
      this.#orCut(() => stream.sendTrailers(trailers));
    });
  }

  /** Sends fields. Node refuses some that a server may send, and would end the process with them. */
  #orCut(send: () => void): void {
    try {
      send();
    } catch {
      this.cut();
    }
  }
}

/** The fields of HTTP/2, whose names are in lower case. */
function fieldsOf(headers: HeaderList): [name: string, value: string][] {
  const fields: [string, string][] = [];
  for (const [name, value] of headers) {
    const lower = name.toLowerCase();
    if (!notInHttp2.has(lower)) fields.push([lower, value]);
  }
  return fields;
}
