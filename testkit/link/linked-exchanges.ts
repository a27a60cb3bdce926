import type { Dialer } from '../../src/dialer/dialer.ts';
import {
  AcceptedExchange,
  type AcceptedExchangeHandler,
} from '../../src/http-exchange/accepted-exchange.ts';
import { decodeRequestHead } from '../../src/http-exchange/head-codec.ts';
import type {
  HeaderList,
  HttpExchange,
  HttpExchangeHandler,
  HttpExchangeOptions,
  HttpRequestHead,
  HttpResponseHead,
} from '../../src/http-exchange/http-exchange.ts';
import { openHttpExchange } from '../../src/http-exchange/open-http-exchange.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { Session } from '../../src/tunnel/session.ts';
import type { TunnelStream } from '../../src/tunnel/stream-handler.ts';
import type { HttpTarget } from '../../src/tunnel/stream-request.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { VirtualClock } from '../clock/virtual-clock.ts';
import { type LinkedSessionsOptions, SessionEnd } from './linked-sessions.ts';
import { simulatedLinkPair } from './simulated-link.ts';

/** A dialer whose streams are those of one session. `streams` gets each of them. */
export function sessionDialer(session: Session, streams: TunnelStream[] = []): Dialer {
  return {
    open: ({ target, timeoutMs = 0, caller, trace, isPatient }, handler) => {
      const stream = session.open({ target, timeoutMs, caller, trace, isPatient }, () => handler);
      streams.push(stream);
      return stream;
    },
    async drain() {},
  };
}

/** The events of an exchange at the end that asked for it. */
export class RecordedExchange implements HttpExchangeHandler {
  readonly events: string[] = [];
  readonly informational: HttpResponseHead[] = [];
  head: HttpResponseHead | undefined;
  trailers: HeaderList | undefined;
  error: TunnelError | undefined;
  bodyBytes = 0;
  exchange!: HttpExchange;
  /** Whether window is given back on arrival. */
  isReading = true;
  readonly #body: Uint8Array[] = [];

  get body(): string {
    return Buffer.concat(this.#body).toString('latin1');
  }

  onInformational(head: HttpResponseHead): void {
    this.events.push('informational');
    this.informational.push(head);
  }

  onHead(head: HttpResponseHead): void {
    this.events.push('head');
    this.head = head;
  }

  onData(bytes: Uint8Array): void {
    this.#body.push(new Uint8Array(bytes));
    this.bodyBytes += bytes.length;
    if (this.isReading) this.exchange.consumed(bytes.length);
  }

  onTrailers(trailers: HeaderList): void {
    this.events.push('trailers');
    this.trailers = trailers;
  }

  onEnd(): void {
    this.events.push('end');
  }

  onWritable(): void {
    this.events.push('writable');
  }

  onStop(): void {
    this.events.push('stop');
  }

  onClose(error: TunnelError | undefined): void {
    this.error = error;
    this.events.push(error === undefined ? 'close' : `close: ${error.code}`);
  }
}

/** An exchange at the end that answers it. */
export class AnsweredExchange implements AcceptedExchangeHandler {
  readonly events: string[] = [];
  readonly target: HttpTarget;
  readonly stream: Stream;
  readonly exchange: AcceptedExchange;
  trailers: HeaderList | undefined;
  isReading = true;
  readonly #body: Uint8Array[] = [];

  constructor(target: HttpTarget, stream: Stream) {
    this.target = target;
    this.stream = stream;
    this.exchange = new AcceptedExchange(stream, target.hasBody, this);
  }

  get head(): HttpRequestHead {
    return decodeRequestHead(this.target.head);
  }

  get body(): string {
    return Buffer.concat(this.#body).toString('latin1');
  }

  onData(bytes: Uint8Array): void {
    this.#body.push(new Uint8Array(bytes));
    if (this.isReading) this.exchange.consumed(bytes.length);
  }

  onTrailers(trailers: HeaderList): void {
    this.trailers = trailers;
    this.events.push('trailers');
  }

  onEnd(): void {
    this.events.push('end');
  }

  onWritable(): void {
    this.events.push('writable');
  }

  onStop(): void {
    this.events.push('stop');
  }

  onClose(error: TunnelError | undefined): void {
    this.events.push(error === undefined ? 'close' : `close: ${error.code}`);
  }
}

/** Two sessions over a simulated link, and exchanges between them. */
export class LinkedExchanges {
  readonly clock = new VirtualClock();
  readonly dialer: SessionEnd;
  readonly agent: SessionEnd;
  readonly answered: AnsweredExchange[] = [];
  /** The dialer's ends of the exchanges. */
  readonly streams: TunnelStream[] = [];
  readonly #options: LinkedSessionsOptions;
  #number = 1000;

  /** @param onExchange what the agent does with a new exchange (default: accepts it at once) */
  constructor(
    options: LinkedSessionsOptions = {},
    onExchange: (exchange: AnsweredExchange) => void = ({ stream }) => stream.accept(),
  ) {
    this.#options = options;
    const [dialerLink, agentLink] = simulatedLinkPair(this.clock, options);
    this.dialer = new SessionEnd(dialerLink, this.clock, options);
    this.agent = new SessionEnd(agentLink, this.clock, options, ({ target }, stream) => {
      if (target.kind !== 'http') throw new Error(`unexpected target of kind ${target.kind}`);
      const answered = new AnsweredExchange(target, stream);
      this.answered.push(answered);
      onExchange(answered);
      return answered.exchange;
    });
  }

  open(head: Partial<HttpRequestHead> = {}, options: Partial<HttpExchangeOptions> = {}) {
    const recorded = new RecordedExchange();
    const open = openHttpExchange(sessionDialer(this.dialer.session, this.streams));
    recorded.exchange = open(
      {
        cluster: 'c',
        server: { kind: 'kube-apiserver' },
        credentials: 'caller',
        hasBody: false,
        head: { method: 'GET', path: '/api', headers: [], ...head },
        ...options,
      },
      recorded,
    );
    return recorded;
  }

  /** Both sessions continue over a fresh link. */
  relink(): void {
    const [dialerLink, agentLink] = simulatedLinkPair(this.clock, this.#options);
    const number = ++this.#number;
    this.agent.attach(agentLink, number, true);
    this.dialer.attach(dialerLink, number, true);
  }

  async opened(
    ...args: Parameters<LinkedExchanges['open']>
  ): Promise<[RecordedExchange, AnsweredExchange]> {
    const recorded = this.open(...args);
    await this.clock.runUntilIdle();
    return [recorded, this.answered.at(-1)!];
  }
}
