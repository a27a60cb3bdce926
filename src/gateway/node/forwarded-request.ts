import { asError, describeError } from '../../base/error.ts';
import { catchError, whenKnown } from '../../base/maybe-promise.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpExchangeHandler,
  HttpResponseHead,
} from '../../http-exchange/http-exchange.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import { exchangeError } from '../exchange-error.ts';
import type { AdmittedRequest, IncomingRequest } from '../admitted-request.ts';
import { GatewayError } from '../gateway-error.ts';
import type { RequestOwner, RequestRecord } from '../request-record.ts';
import { responseHeaders } from '../response-headers.ts';
import { statusAnswer } from '../status-answer.ts';
import type { ClientConnection } from './client-connection.ts';
import type { ClientEvents, ClientSide, RawConnection } from './client-side.ts';
import type { GatewayContext } from './gateway-context.ts';
import { bodyLength } from '../body-length.ts';
import { trailerFields } from '../trailer-fields.ts';

/** `raw-ended`: the server has ended its half of an upgraded HTTP/2 stream. */
type State = 'admitting' | 'waiting' | 'answering' | 'answered' | 'raw' | 'raw-ended' | 'closed';

/**
 * One request, from its head to the end of its answer: it waits until the gateway has admitted it,
 * and then moves bodies between the client and an exchange, both ways, with backpressure. A response
 * that the server or the tunnel cuts is cut for the client as well.
 */
export class ForwardedRequest implements HttpExchangeHandler, ClientEvents, RequestOwner {
  readonly #context: GatewayContext;
  readonly #method: string;
  /** Undefined once it was admitted, because a watch lasts for hours. */
  #request: IncomingRequest | undefined;
  readonly #record: RequestRecord;
  readonly #connection: Pick<ClientConnection, 'authenticated' | 'refused'>;
  #client!: ClientSide;
  #state: State = 'admitting';
  #abort: AbortController | undefined = new AbortController();
  /** Undefined before the request was admitted and after the head of its answer. */
  #admitted: Omit<AdmittedRequest, 'exchange'> | undefined;
  #exchange: HttpExchange | undefined;
  #raw: RawConnection | undefined;
  #trailers: HeaderList | undefined;
  /** Bytes of the body that are still to come; undefined: the head does not tell. */
  #leftBytes: number | undefined;
  /** Bytes that the client has not taken yet, so that their window is not given back. */
  #heldBytes = 0;

  /** @param connection is told whether a server has accepted the client's credentials */
  constructor(
    context: GatewayContext,
    request: IncomingRequest,
    connection: Pick<ClientConnection, 'authenticated' | 'refused'>,
  ) {
    this.#context = context;
    this.#method = request.method;
    this.#request = request;
    this.#connection = connection;
    this.#record = context.gateway.begin(request);
    this.#record.owner = this;
    context.requests.add(this);
  }

  start(client: ClientSide): void {
    this.#client = client;
    const { gateway } = this.#context;
    const { signal } = this.#abort!;
    void catchError(
      () =>
        whenKnown(gateway.admit(this.#request!, this.#record, signal), (admitted) =>
          this.#forward(admitted),
        ),
      (thrown) => this.#failed(thrown),
    );
  }

  /** Answers without an exchange. */
  refuse(client: ClientSide, error: GatewayError): void {
    this.#client = client;
    this.#answer(error);
  }

  /** Ends the request at once, because the server closes. */
  cut(): void {
    this.#end(
      new TunnelError('draining', 'the gateway ends'),
      new GatewayError('ServiceUnavailable', 'the gateway ends'),
    );
  }

  /** The user has lost the right to the request. */
  onRevoked(reason: string): void {
    this.#context.log.info('request ended by rules', { cluster: this.#record.cluster, reason });
    this.#end(new TunnelError('forbidden', reason), new GatewayError('Forbidden', reason));
  }

  #end(error: TunnelError, answer: GatewayError): void {
    this.#exchange?.reset(error);
    if (this.#state === 'admitting' || this.#state === 'waiting') this.#answer(answer);
    else this.#client.cut();
  }

  #forward({ exchange, ...admitted }: AdmittedRequest): void {
    if (this.#state !== 'admitting') return;
    this.#abort = undefined;
    this.#request = undefined;
    this.#admitted = admitted;
    // It throws for a head that no exchange can carry. Then the request gets an answer.
    this.#exchange = this.#context.open(exchange, this);
    this.#state = 'waiting';
    if (admitted.upgrade === undefined) this.#client.body.read();
  }

  #failed(thrown: unknown): void {
    if (this.#state !== 'admitting') return;
    if (thrown instanceof GatewayError) return this.#answer(thrown);
    this.#context.log.error('request failed', { error: describeError(thrown) });
    this.#answer(new GatewayError('BadGateway', 'the gateway has failed', { cause: thrown }));
  }

  /** Answers with a Status in place of the server. */
  #answer(error: GatewayError): void {
    const { head, body } = statusAnswer(error);
    this.#record.failed(error);
    this.#connection.refused();
    this.#state = 'answered';
    this.#client.begin(head);
    if (this.#method !== 'HEAD') {
      this.#record.sentBytes = body.length;
      this.#client.write(body);
    }
    this.#client.end(undefined);
  }

  onInformational(head: HttpResponseHead): void {
    if (this.#state === 'waiting') this.#client.inform(head);
  }

  onHead(head: HttpResponseHead): void {
    if (this.#state !== 'waiting') return;
    const { route, host, upgrade } = this.#admitted!;
    this.#admitted = undefined;
    const { status } = head;
    if (status === 401 || status === 403) this.#connection.refused();
    else this.#connection.authenticated();
    const forClient = { status, headers: responseHeaders(head.headers, route, host) };
    try {
      if (status === 101) {
        this.#upgrade(upgrade, head, forClient);
      } else {
        this.#leftBytes = bodyLength(this.#method, forClient);
        this.#client.begin(forClient);
        this.#state = 'answering';
      }
      this.#record.answered(status);
    } catch (thrown) {
      this.#exchange!.reset(TunnelError.from(asError(thrown), 'protocol_error'));
      const message = `cluster "${route.cluster}": the server's answer is not valid HTTP: ${describeError(thrown)}`;
      this.#answer(new GatewayError('BadGateway', message, { hop: 'server', cause: thrown }));
    }
  }

  #upgrade(
    asked: string | undefined,
    { headers }: HttpResponseHead,
    forClient: HttpResponseHead,
  ): void {
    const protocol = headers.find(([name]) => name.toLowerCase() === 'upgrade')?.[1];
    if (protocol === undefined || protocol.toLowerCase() !== asked?.toLowerCase()) {
      throw new Error('it changes to a protocol that the client did not ask for');
    }
    const upgraded = {
      status: 101,
      headers: [
        ['Connection', 'Upgrade'] as const,
        ['Upgrade', protocol] as const,
        ...forClient.headers,
      ],
    };
    this.#raw = this.#client.upgrade(upgraded, this.#exchange!);
    this.#state = 'raw';
    if (this.#raw === undefined) this.#client.body.read();
  }

  onData(bytes: Uint8Array): void {
    const { length } = bytes;
    if (this.#raw !== undefined) {
      this.#record.sentBytes += length;
      this.#raw.onData(bytes);
      return;
    }
    if (this.#state !== 'answering' && this.#state !== 'raw') {
      this.#exchange!.consumed(length);
      return;
    }
    if (this.#leftBytes !== undefined && (this.#leftBytes -= length) < 0) {
      this.#cutAnswer('has more bytes than its Content-Length');
      return;
    }
    this.#record.sentBytes += length;
    if (this.#client.write(bytes) && this.#heldBytes === 0) this.#exchange!.consumed(length);
    else this.#heldBytes += length;
  }

  onTrailers(trailers: HeaderList): void {
    this.#trailers = trailerFields(trailers);
  }

  onEnd(): void {
    if (this.#raw !== undefined) {
      this.#raw.onFin();
    } else if (
      this.#state === 'answering' &&
      this.#leftBytes !== undefined &&
      this.#leftBytes > 0
    ) {
      this.#cutAnswer('has fewer bytes than its Content-Length');
    } else if (this.#state === 'answering' || this.#state === 'raw') {
      this.#state = this.#state === 'raw' ? 'raw-ended' : 'answered';
      this.#client.end(this.#trailers);
    }
  }

  onWritable(): void {
    if (this.#raw !== undefined) this.#raw.onWritable();
    else this.#client.body.resume();
  }

  onStop(): void {
    if (this.#raw !== undefined) this.#raw.onStop();
    else this.#client.body.drop();
  }

  onClose(error: TunnelError | undefined): void {
    if (this.#raw !== undefined) {
      this.#raw.onClose(error);
    } else if (this.#state === 'waiting') {
      const { cluster } = this.#admitted!.route;
      const isKnownCluster = this.#context.isKnownCluster(cluster);
      const cut = error ?? new TunnelError('reset', 'it ended without an answer');
      this.#answer(exchangeError(cut, { cluster, isKnownCluster }));
    } else if (
      this.#state === 'answering' ||
      this.#state === 'raw' ||
      // Nobody reads what the client still sends.
      (this.#state === 'raw-ended' && error !== undefined)
    ) {
      this.#client.cut();
    }
  }

  onBody(bytes: Uint8Array): void {
    if (!this.#exchange!.write(bytes)) this.#client.body.pause();
  }

  onBodyEnd(trailers: HeaderList | undefined): void {
    this.#exchange!.end(trailerFields(trailers));
  }

  onBodyInvalid(problem: string): void {
    const message = `the body of the request cannot be read: ${problem}`;
    this.#end(
      new TunnelError('cancelled', message),
      new GatewayError('BadRequest', message, { hop: 'client' }),
    );
  }

  onDrain(): void {
    const bytes = this.#heldBytes;
    this.#heldBytes = 0;
    if (bytes > 0) this.#exchange?.consumed(bytes);
  }

  onClientClosed(isComplete: boolean): void {
    if (this.#state === 'closed') return;
    const isAnswered = this.#state === 'answered' || this.#state === 'raw-ended';
    const isCut = !isComplete || !isAnswered;
    this.#state = 'closed';
    // Almost every request is complete, and an error costs a stack trace.
    if (isCut) {
      const left = new TunnelError('cancelled', 'the client has closed the connection');
      this.#abort?.abort(left);
      this.#exchange?.reset(left);
    }
    this.#record.end(isComplete);
    this.#context.requests.delete(this);
    this.#context.onEnded();
  }

  #cutAnswer(problem: string): void {
    const { cluster } = this.#record;
    this.#context.log.warn('response cut', { cluster, reason: `the body ${problem}` });
    this.#exchange!.reset(new TunnelError('protocol_error', `the body of the response ${problem}`));
    this.#client.cut();
  }
}
