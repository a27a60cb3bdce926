import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import { type ChannelCredentials, connectivityState, credentials } from '@grpc/grpc-js';
import { trustServersOf } from '../base/tls/tls-trust.ts';
import { DialError } from './dial-error.ts';
import { KonnectivityConnection } from './konnectivity-connection.ts';
import { type ProxyCall, ProxyService, type ProxyServiceClient } from './proxy-service.ts';

export interface KonnectivityClientOptions {
  /** `host:port`, or `unix:/path` of a Unix socket. */
  readonly address: string;
  /**
   * Without it the connection is in the clear. Servers accept that on a Unix socket or on loopback.
   */
  readonly tls?: {
    /** CA of the server's certificate, PEM. */
    readonly ca: Buffer;
    /** The client's own certificate and key, PEM. */
    readonly cert: Buffer;
    readonly key: Buffer;
    /** The name in the server's certificate (default: the host of `address`). */
    readonly serverName?: string;
  };
}

export interface DialOptions {
  /** An abort before the answer cancels the dial (DialError `context`). Later it has no effect. */
  readonly signal?: AbortSignal;
  /**
   * How long to wait for an answer, in milliseconds (default 30_000, as in the Go client). Then the
   * dial fails (DialError `timeout`).
   */
  readonly timeoutMs?: number;
}

/**
 * A TypeScript client for konnectivity servers: this project's bridge, or any other. No program of
 * this project imports it. It is for programs of users that dial into clusters, for the demo, and
 * for tests as a client that is independent of the bridge's own codec.
 *
 * It keeps one HTTP/2 connection, which the first dial opens, and which is opened again after a
 * loss. Each dial is a stream on it.
 */
export class KonnectivityClient implements AsyncDisposable {
  readonly #service: ProxyServiceClient;
  readonly #connections = new Set<KonnectivityConnection>();

  constructor(options: KonnectivityClientOptions) {
    const { address, tls } = options;
    this.#service = new ProxyService(
      address,
      tls === undefined ? credentials.createInsecure() : secureCredentials(tls),
      {
        ...(tls?.serverName !== undefined && { 'grpc.ssl_target_name_override': tls.serverName }),
        // Large enough for one bulk stream on a path with high latency. The default is HTTP/2's
        // 64 KiB.
        'grpc-node.flow_control_window': 4 * 1024 * 1024,
        // Clients of one process do not share connections, so that closing a client closes its
        // connection.
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_http_proxy': 0,
        'grpc.enable_retries': 0,
      },
    );
  }

  /**
   * Opens a connection to `address` (`host:port`, resolved by the server). @throws DialError
   */
  async dial(address: string, options: DialOptions = {}): Promise<Duplex> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? 30_000);
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const connection = new KonnectivityConnection(this.#call(), this.#isUnreachable);
    this.#connections.add(connection);
    connection.once('close', () => this.#connections.delete(connection));
    await connection.dial(address, signal);
    return connection;
  }

  #call(): ProxyCall {
    try {
      return this.#service.Proxy();
    } catch (cause) {
      throw new DialError('tunnelclosed', 'tunnel closed: the client was closed', { cause });
    }
  }

  readonly #isUnreachable = (): boolean =>
    this.#service.getChannel().getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE;

  /** Ends all connections, dials (DialError `tunnelclosed`) and the client at once. Idempotent. */
  close(): void {
    for (const connection of this.#connections) connection.destroy();
    this.#service.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

function secureCredentials({
  ca,
  cert,
  key,
}: NonNullable<KonnectivityClientOptions['tls']>): ChannelCredentials {
  const trusted = trustServersOf([ca.toString()], 'nothing');
  return credentials.createFromSecureContext(createSecureContext({ ...trusted, cert, key }));
}
