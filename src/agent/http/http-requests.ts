import type { Clock } from '../../base/clock.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import { decodeRequestHead } from '../../http-exchange/head-codec.ts';
import type { HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import { isLongRequest } from '../../http-exchange/long-request.ts';
import { TunnelError, type TunnelErrorCode } from '../../tunnel/errors.ts';
import { refusedStream } from '../../tunnel/refused-stream.ts';
import type { Stream } from '../../tunnel/stream.ts';
import type { StreamHandler } from '../../tunnel/stream-handler.ts';
import { type HttpRequest, targetName } from '../../tunnel/stream-request.ts';
import { AgentExchange, type ExchangeContext } from './agent-exchange.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { HttpConnection } from './http-connection.ts';
import type { Http2Connection } from './http2-connection.ts';
import type { Http2Connections } from './http2-connections.ts';
import { Http2Request } from './http2-request.ts';
import type { Endpoint, HttpServers } from './http-servers.ts';
import type { OwnCredentials } from './own-credentials.ts';
import { ownTokenProblem } from './request-credentials.ts';
import { requestText } from './request-text.ts';
import { PendingExchange } from './pending-exchange.ts';
import { portNumber, type ServicePorts } from './service-ports.ts';

export interface HttpRequestsOptions {
  readonly servers: HttpServers;
  readonly credentials: OwnCredentials;
  readonly ports: ServicePorts;
  readonly pool: ConnectionPool;
  readonly http2: Http2Connections;
  /** Gateways may impersonate users with the agent's token. */
  readonly mayImpersonate: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Accepts the streams of kind `http`, and makes their requests. */
export class HttpRequests {
  /** Requests by the code that the dialer gets; `ok` is a complete response. */
  readonly countByCode = new Map<'ok' | TunnelErrorCode, number>([['ok', 0]]);
  readonly #options: HttpRequestsOptions;
  #openCount = 0;

  constructor(options: HttpRequestsOptions) {
    this.#options = options;
  }

  /** Requests whose response is not complete. */
  get openCount(): number {
    return this.#openCount;
  }

  /** The state of the CA files. */
  get files(): readonly FileStatus[] {
    return this.#options.servers.files;
  }

  get idleConnectionCount(): number {
    return this.#options.pool.idleCount;
  }

  get http2ConnectionCount(): number {
    return this.#options.http2.count;
  }

  accept(request: HttpRequest, stream: Stream, isGateway: boolean): StreamHandler {
    const startedAtMs = this.#options.clock.now();
    this.#openCount++;
    const done = (method: string, status: number | undefined, error?: TunnelError): void => {
      this.#openCount--;
      this.#record(request, { method, status, error, startedAtMs });
    };
    let head: HttpRequestHead;
    try {
      head = decodeRequestHead(request.target.head);
      this.#checkCredentials(request, head, isGateway);
      return this.#begin(request, head, stream, (status, error) =>
        done(head.method, status, error),
      );
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      done('', undefined, error);
      stream.reset(error);
      return refusedStream;
    }
  }

  /** No connection is kept from now on. Idempotent. */
  close(): void {
    this.#options.pool.close();
    this.#options.http2.close();
  }

  #checkCredentials({ target }: HttpRequest, head: HttpRequestHead, isGateway: boolean): void {
    if (target.credentials === 'caller') return;
    const { mayImpersonate } = this.#options;
    const problem = ownTokenProblem(target, head, { isGateway, mayImpersonate });
    if (problem !== undefined) throw problem;
  }

  /** Starts at once if the agent knows everything, which is the case for most requests. */
  #begin(
    request: HttpRequest,
    head: HttpRequestHead,
    stream: Stream,
    onDone: (status: number | undefined, error?: TunnelError) => void,
  ): StreamHandler {
    const { credentials, ports } = this.#options;
    const { server, hasBody } = request.target;
    const isOwn = request.target.credentials === 'agent';
    const make = (port: number, authorization: string | undefined): AgentExchange => {
      const endpoint = this.#options.servers.endpointOf(request, port);
      const text = requestText(head, { host: endpoint.host, hasBody, authorization });
      const http1 = this.#contextOf(endpoint, onDone);
      const isHttp2 =
        server.kind === 'kube-apiserver' &&
        isLongRequest(head, hasBody) &&
        this.#options.http2.isOffered(endpoint);
      const context = isHttp2 ? this.#http2ContextOf(endpoint, head, authorization, http1) : http1;
      return new AgentExchange(stream, hasBody, text, context);
    };
    const port = server.kind === 'service' ? portNumber(server.port) : 0;
    const { fresh } = credentials;
    if (port !== undefined && (!isOwn || fresh !== undefined)) {
      return make(port, isOwn ? fresh : undefined).exchange;
    }
    const prepare = async (signal: AbortSignal): Promise<StreamHandler> => {
      const authorization = isOwn ? await credentials.read() : undefined;
      const number = port ?? (await ports.lookup(request, signal));
      return make(number, authorization).exchange;
    };
    return new PendingExchange(stream, prepare, (error) => onDone(undefined, error));
  }

  #contextOf(
    endpoint: Endpoint,
    onDone: (status: number | undefined, error?: TunnelError) => void,
  ): ExchangeContext {
    const { pool, servers, clock } = this.#options;
    const { key, host } = endpoint;
    return {
      clock,
      host,
      onDone,
      takeIdle: () => pool.take(key),
      connect: async (signal: AbortSignal, isUpgrade: boolean) => {
        const socket = await servers.connect(endpoint, signal);
        const onIdle = (idle: HttpConnection): void => pool.put(key, idle);
        const connection = new HttpConnection(socket, isUpgrade ? undefined : onIdle);
        return { connection, isReused: false };
      },
    };
  }

  /** For long requests, which share connections of HTTP/2 if the server offers it. */
  #http2ContextOf(
    endpoint: Endpoint,
    head: HttpRequestHead,
    authorization: string | undefined,
    http1: ExchangeContext,
  ): ExchangeContext {
    const { http2 } = this.#options;
    const on = (connection: Http2Connection): Http2Request =>
      new Http2Request(connection, head, authorization);
    return {
      ...http1,
      takeIdle: () => {
        const connection = http2.take(endpoint);
        return connection && on(connection);
      },
      connect: async (signal, isUpgrade) => {
        const shared = await http2.acquire(endpoint, signal);
        if (shared !== undefined) return { connection: on(shared), isReused: false };
        const idle = http1.takeIdle();
        if (idle !== undefined) return { connection: idle, isReused: true };
        return http1.connect(signal, isUpgrade);
      },
    };
  }

  #record(
    { target, caller, trace }: HttpRequest,
    result: {
      readonly method: string;
      readonly status: number | undefined;
      readonly error: TunnelError | undefined;
      readonly startedAtMs: number;
    },
  ): void {
    const { method, status, error, startedAtMs } = result;
    const code = error?.code ?? 'ok';
    this.countByCode.set(code, (this.countByCode.get(code) ?? 0) + 1);
    const { log, clock } = this.#options;
    // A refusal that an operator may want to know of. A path may have a credential in its query, so
    // no line has it.
    const isRefused = code === 'forbidden';
    const fields = {
      target: targetName(target),
      method,
      status,
      code,
      ms: Math.round(clock.now() - startedAtMs),
      caller: caller?.user,
      trace,
      error: error?.message,
    };
    if (isRefused) log.warn('http request refused', fields);
    else log.debug('http request', fields);
  }
}
