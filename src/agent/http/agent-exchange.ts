import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import {
  AcceptedExchange,
  type AcceptedExchangeHandler,
} from '../../http-exchange/accepted-exchange.ts';
import { exchangeLimits } from '../../http-exchange/exchange-limits.ts';
import type { HeaderList, HttpResponseHead } from '../../http-exchange/http-exchange.ts';
import { fieldValues } from '../../http-exchange/upgrade.ts';
import { SocketPump } from '../../stream-io/node/socket-pump.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { Stream } from '../../tunnel/stream.ts';
import { endToEndFields } from './hop-by-hop.ts';
import type { ConnectionUser } from './connection-user.ts';
import { NotProcessedError } from './not-processed-error.ts';
import type { RequestCarrier } from './request-carrier.ts';
import type { RequestText } from './request-text.ts';
import { ResponseError } from './response-error.ts';
import type { ParsedHead } from '../../http1/response-head.ts';

/** What an exchange needs of the agent. */
export interface ExchangeContext {
  readonly clock: Clock;
  /** An idle connection to the server; undefined: there is none. */
  readonly takeIdle: () => RequestCarrier | undefined;
  /** @throws TunnelError the reason why there is no connection; `cancelled` after an abort */
  readonly connect: (signal: AbortSignal, isUpgrade: boolean) => Promise<Connected>;
  /** Names the server in errors. */
  readonly host: string;
  /** Called once. `code` is the error's, or undefined for an exchange that ended in order. */
  readonly onDone: (status: number | undefined, error: TunnelError | undefined) => void;
}

interface Connected {
  readonly connection: RequestCarrier;
  /** It was idle before, so that the server may have just closed it. */
  readonly isReused: boolean;
}

/** How often a request is sent again that servers refuse before they process it. */
const maxRefusals = 3;

// Made once, because an abort without a reason makes an error each time, with a stack.
const exchangeEnded = new Error('the exchange has ended');

/** One request that the agent makes, and its response. */
export class AgentExchange implements AcceptedExchangeHandler, ConnectionUser {
  readonly exchange: AcceptedExchange;
  readonly #stream: Stream;
  readonly #request: RequestText;
  readonly #context: ExchangeContext;
  /** Ends the wait for a connection; undefined: there is none. */
  #dialing: AbortController | undefined;
  #connection: RequestCarrier | undefined;
  #isReused = false;
  #refusals = 0;
  #receivedBytes = 0;
  #isRequestEnded = false;
  #trailers: HeaderList = [];
  #responseTrailers: HeaderList | undefined;
  #status: number | undefined;
  #isOver = false;

  constructor(stream: Stream, hasBody: boolean, request: RequestText, context: ExchangeContext) {
    this.#stream = stream;
    this.#request = request;
    this.#context = context;
    this.exchange = new AcceptedExchange(stream, hasBody, this);
    stream.isPatient = request.isRepeatable;
    const idle = request.isUpgrade ? undefined : context.takeIdle();
    if (idle === undefined) void this.#connect();
    else this.#send(idle, true);
  }

  // The caller's direction.

  onData(bytes: Uint8Array): void {
    const { bodyBytes } = this.#request;
    this.#receivedBytes += bytes.length;
    if (bodyBytes !== undefined && this.#receivedBytes > bodyBytes) {
      return this.#cut(bodyLength('more', bodyBytes));
    }
    this.#connection?.writeBody(bytes);
  }

  onTrailers(trailers: HeaderList): void {
    this.#trailers = endToEndFields(trailers);
  }

  onEnd(): void {
    this.#isRequestEnded = true;
    const { bodyBytes } = this.#request;
    if (bodyBytes !== undefined && this.#receivedBytes < bodyBytes) {
      return this.#cut(bodyLength('less', bodyBytes));
    }
    this.#connection?.endBody(this.#trailers);
  }

  onWritable(): void {
    this.#connection?.resume();
  }

  onStop(): void {
    this.#cut(new TunnelError('cancelled', 'the caller reads no more of the response'));
  }

  onClose(error: TunnelError | undefined): void {
    this.#dialing?.abort(exchangeEnded);
    if (error !== undefined) this.#connection?.destroy();
    this.#connection = undefined;
    this.#end(error);
  }

  // The server's direction.

  onInformational({ status, headers }: HttpResponseHead): void {
    this.exchange.sendInformational({ status, headers: endToEndFields(headers) });
  }

  onHead({ status, headers }: HttpResponseHead): void {
    this.#status = status;
    this.exchange.sendHead({ status, headers: endToEndFields(headers) });
  }

  onBody(bytes: Uint8Array): boolean {
    return this.exchange.write(bytes);
  }

  onResponseTrailers(trailers: HeaderList): void {
    if (trailers.length > exchangeLimits.maxFields) {
      throw new ResponseError('it has too many trailers');
    }
    this.#responseTrailers = endToEndFields(trailers);
  }

  onComplete(): void {
    this.#connection = undefined;
    this.exchange.end(this.#responseTrailers);
    this.#end(undefined);
  }

  onUpgrade({ status, headers }: ParsedHead, socket: Socket, bytes: Uint8Array): void {
    this.#connection = undefined;
    this.#status = status;
    const { clock, host } = this.#context;
    const toTunnelError = (error: Error): TunnelError => broken(host, error);
    const pump = new SocketPump(socket, { clock, toTunnelError });
    pump.bind(this.#stream);
    const protocols = fieldValues(headers, 'upgrade').map((value) => ['Upgrade', value]);
    const kept = [...endToEndFields(headers), ['Connection', 'Upgrade'], ...protocols];
    try {
      this.exchange.upgrade({ status, headers: kept as [string, string][] }, pump);
    } catch (thrown) {
      // Nobody else knows the socket any more.
      socket.destroy();
      return this.#cut(TunnelError.from(thrown));
    }
    if (bytes.length > 0) this.#stream.write(bytes);
    pump.onOpened();
    if (this.#isRequestEnded) pump.onFin();
  }

  onTaken(bytes: number): void {
    this.exchange.consumed(bytes);
  }

  onFailed(error: Error, isUnanswered: boolean): void {
    this.#connection = undefined;
    const isRefused = error instanceof NotProcessedError && ++this.#refusals <= maxRefusals;
    // Otherwise the server has closed an idle connection while the request was on its way.
    const mayRepeat = (this.#isReused || isRefused) && isUnanswered && this.#request.isRepeatable;
    if (mayRepeat && !this.#isOver) return void this.#connect();
    this.#cut(error instanceof TunnelError ? error : broken(this.#context.host, error));
  }

  /** Never rejects. */
  async #connect(): Promise<void> {
    const dialing = new AbortController();
    this.#dialing = dialing;
    try {
      const { connect } = this.#context;
      const { connection, isReused } = await connect(dialing.signal, this.#request.isUpgrade);
      this.#dialing = undefined;
      if (this.#isOver) connection.destroy();
      else this.#send(connection, isReused);
    } catch (thrown) {
      this.#cut(TunnelError.from(thrown));
    }
  }

  #send(connection: RequestCarrier, isReused: boolean): void {
    this.#connection = connection;
    this.#isReused = isReused;
    connection.send(this.#request, this);
    this.#stream.accept();
  }

  #cut(error: TunnelError): void {
    if (this.#isOver) return;
    this.#connection?.destroy();
    this.#connection = undefined;
    this.exchange.reset(error);
    this.#end(error);
  }

  #end(error: TunnelError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#context.onDone(this.#status, error);
  }
}

function broken(host: string, cause: Error): TunnelError {
  const is = cause instanceof ResponseError;
  const sentence = is
    ? `the response of ${host} is not valid: ${cause.message}`
    : `the connection to ${host} broke off: ${cause.message}`;
  return new TunnelError('target_reset', sentence, { cause });
}

function bodyLength(which: 'more' | 'less', bytes: number): TunnelError {
  const sentence = `the body of the request has ${which} bytes than its Content-Length of ${bytes}`;
  return new TunnelError('protocol_error', sentence);
}
