import type { Clock } from '../../base/clock.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import { decodeRequestHead } from '../../http-exchange/head-codec.ts';
import type { HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import { TunnelError, type TunnelErrorCode } from '../../tunnel/errors.ts';
import { refusedStream } from '../../tunnel/refused-stream.ts';
import type { Stream } from '../../tunnel/stream.ts';
import type { StreamHandler } from '../../tunnel/stream-handler.ts';
import { type HttpRequest, targetName } from '../../tunnel/stream-request.ts';
import { AgentExchange } from './agent-exchange.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { HttpConnection } from './http-connection.ts';
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
      return new AgentExchange(stream, hasBody, text, this.#contextOf(endpoint, onDone));
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
  ) {
    const { pool, servers, clock } = this.#options;
    const { key, host } = endpoint;
    return {
      clock,
      host,
      onDone,
      takeIdle: () => pool.take(key),
      connect: async (dialing: AbortController, isUpgrade: boolean) => {
        const socket = await servers.connect(endpoint, dialing);
        if (isUpgrade) return new HttpConnection(socket);
        return new HttpConnection(socket, (connection) => pool.put(key, connection));
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
