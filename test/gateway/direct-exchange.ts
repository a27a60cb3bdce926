import { Agent, type IncomingMessage, request as sendRequest } from 'node:http';
import type { Socket } from 'node:net';
import type {
  HeaderList,
  HttpExchange,
  HttpExchangeHandler,
  HttpExchangeOptions,
  OpenHttpExchange,
} from '../../src/http-exchange/http-exchange.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';

export interface DirectExchanges {
  readonly open: OpenHttpExchange;
  /** The options of all exchanges, in order. */
  readonly opened: HttpExchangeOptions[];
  /** Exchanges that have not ended. */
  readonly live: Set<HttpExchange>;
  /** Ends all live exchanges with this error, as a lost tunnel does. */
  cut(error: TunnelError): void;
  close(): void;
}

/** Exchanges without a tunnel: Node's client sends the requests to one server. */
export function directExchanges(port: () => number): DirectExchanges {
  const agent = new Agent({ keepAlive: true });
  const opened: HttpExchangeOptions[] = [];
  const live = new Set<DirectExchange>();
  const open: OpenHttpExchange = (options, handler) => {
    opened.push(options);
    const exchange = new DirectExchange(options, handler, { agent, port: port() }, () =>
      live.delete(exchange),
    );
    live.add(exchange);
    return exchange;
  };
  return {
    ...{ open, opened, live },
    cut: (error) => {
      for (const exchange of live) exchange.fail(error);
    },
    close: () => agent.destroy(),
  };
}

class DirectExchange implements HttpExchange {
  readonly #handler: HttpExchangeHandler;
  readonly #request;
  readonly #onClosed: () => void;
  #socket: Socket | undefined;
  #unread = 0;
  #message: IncomingMessage | Socket | undefined;
  #isClosed = false;

  constructor(
    { head, hasBody }: HttpExchangeOptions,
    handler: HttpExchangeHandler,
    server: { readonly agent: Agent; readonly port: number },
    onClosed: () => void,
  ) {
    this.#handler = handler;
    this.#onClosed = onClosed;
    const { method, path, headers } = head;
    const isUpgrade = headers.some(([name]) => name.toLowerCase() === 'upgrade');
    if (isUpgrade && hasBody) throw new Error('an agent refuses an upgrade with a body');
    const needsChunks =
      hasBody && !headers.some(([name]) => name.toLowerCase() === 'content-length');
    const chunked = needsChunks ? ['Transfer-Encoding', 'chunked'] : [];
    const request = sendRequest({
      ...{ host: '127.0.0.1', ...server, method, path },
      headers: [...headers.flat(), ...chunked],
    });
    this.#request = request;
    request.on('information', ({ statusCode, rawHeaders }) => {
      handler.onInformational?.({ status: statusCode, headers: pairs(rawHeaders) });
    });
    request.on('response', (message) => this.#onResponse(message));
    request.on('upgrade', (message, socket, rest) => {
      this.#onUpgrade(message, socket, rest);
    });
    request.on('drain', () => handler.onWritable());
    request.on('error', (error) => this.#close(new TunnelError('refused', error.message)));
    if (!hasBody) request.end();
    else request.flushHeaders();
  }

  write(bytes: Uint8Array): boolean {
    const copy = Buffer.from(bytes);
    if (this.#socket === undefined) return this.#request.write(copy);
    this.#socket.write(copy);
    return true;
  }

  end(trailers?: HeaderList): void {
    if (this.#socket !== undefined) {
      this.#socket.end();
      return;
    }
    if (trailers !== undefined) {
      this.#request.addTrailers(trailers.map(([name, value]): [string, string] => [name, value]));
    }
    this.#request.end();
  }

  consumed(bytes: number): void {
    this.#unread -= bytes;
    if (this.#unread <= 64 * 1024) this.#message?.resume();
  }

  reset(error: TunnelError): void {
    this.#isClosed = true;
    this.#onClosed();
    this.#request.destroy(error);
    this.#socket?.destroy();
  }

  fail(error: TunnelError): void {
    this.#close(error);
    this.#request.destroy();
    this.#socket?.destroy();
  }

  #onResponse(message: IncomingMessage): void {
    const handler = this.#handler;
    handler.onHead({ status: message.statusCode!, headers: pairs(message.rawHeaders) });
    this.#read(message);
    message.on('end', () => {
      if (message.rawTrailers.length > 0) handler.onTrailers?.(pairs(message.rawTrailers));
      handler.onEnd();
      this.#close(undefined);
    });
    message.on('error', () => this.#close(new TunnelError('target_reset', 'it broke off')));
  }

  #onUpgrade(message: IncomingMessage, socket: Socket, rest: Buffer): void {
    const handler = this.#handler;
    this.#socket = socket;
    handler.onHead({ status: 101, headers: pairs(message.rawHeaders) });
    if (rest.length > 0) handler.onData(rest);
    this.#read(socket);
    socket.on('end', () => handler.onEnd());
    socket.on('error', () => this.#close(new TunnelError('target_reset', 'it broke off')));
    socket.on('close', () => this.#close(undefined));
  }

  #read(message: IncomingMessage | Socket): void {
    this.#message = message;
    message.on('data', (bytes: Buffer) => {
      this.#unread += bytes.length;
      if (this.#unread > 64 * 1024) message.pause();
      this.#handler.onData(bytes);
    });
  }

  #close(error: TunnelError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
    this.#handler.onClose(error);
  }
}

function pairs(raw: readonly string[]): HeaderList {
  const list: [string, string][] = [];
  for (let at = 0; at < raw.length; at += 2) list.push([raw[at]!, raw[at + 1]!]);
  return list;
}
