import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type SecureContextOptions } from 'node:tls';
import { type Clock, systemClock } from '../../base/clock.ts';
import { Condition } from '../../base/condition.ts';
import type { ReloadedFiles } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { HostPort } from '../../base/net/host-port.ts';
import { keepAlive } from '../../base/net/keep-alive.ts';
import { ConnectionGuard } from '../../base/server/connection-guard.ts';
import { listenAt } from '../../base/server/listen.ts';
import type { TrustedProxies } from '../../base/server/trusted-proxies.ts';
import { sleep } from '../../base/sleep.ts';
import { defaultTlsPolicy, type TlsPolicy } from '../../base/tls/tls-policy.ts';
import type { OpenHttpExchange } from '../../http-exchange/http-exchange.ts';
import type { Gateway } from '../gateway.ts';
import type { UserLimits } from '../user-limits.ts';
import { ClientConnection } from './client-connection.ts';
import type { GatewayContext } from './gateway-context.ts';
import { exposeGateway, type GatewayMetrics, noMetrics } from './gateway-metrics.ts';
import { certificateOf, type GatewayTlsFiles, openGatewayTls } from './gateway-tls.ts';
import { Http1Connection, type Http1ConnectionOptions } from './http1-connection.ts';
import { Http2Connection, type Http2ConnectionOptions } from './http2-connection.ts';
import {
  connectionLimits,
  defaultServerLimits,
  type GatewayServerLimits,
} from './server-limits.ts';

export interface GatewayServerOptions {
  readonly listen: HostPort;
  /** Undefined: plain HTTP/1.1. With TLS, clients choose HTTP/1.1 or HTTP/2. */
  readonly tls?: GatewayTlsFiles | undefined;
  readonly tlsPolicy?: TlsPolicy | undefined;
  /** How long the listener stays open after the begin of a drain, in milliseconds (default 0). */
  readonly minDrainMs?: number | undefined;
  /** Proxies whose X-Forwarded-* are true, and that are not limited per address. */
  readonly trustedProxies?: TrustedProxies | undefined;
}

export interface GatewayServerParts {
  readonly gateway: Gateway;
  readonly open: OpenHttpExchange;
  /** The limits of `gateway`, for metrics. */
  readonly userLimits: UserLimits;
  /** Whether a list of clusters has a cluster (default: no list exists). */
  readonly isKnownCluster?: ((cluster: string) => boolean | undefined) | undefined;
  readonly metrics?: GatewayMetrics | undefined;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Overrides of `defaultServerLimits`. */
  readonly limits?: Partial<GatewayServerLimits>;
}

export interface RunningGateway extends AsyncDisposable {
  /** The port is never 0. */
  readonly address: HostPort;
  /** `https://host:port` or `http://host:port`. */
  readonly url: string;
  /** True from the begin of a drain, so that load balancers choose another gateway. */
  readonly isDraining: boolean;

  /**
   * Keeps the listener open for `minDrainMs`, then takes no new connections and requests, and waits
   * until open requests and upgraded connections have ended. When `signal` aborts, it ends them.
   */
  drain(signal: AbortSignal): Promise<void>;

  /** Ends everything at once. Open answers are cut. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves HTTP clients of the gateway.
 *
 * @throws Error the address is in use, or a file cannot be used
 */
export async function startGatewayServer(
  options: GatewayServerOptions,
  parts: GatewayServerParts,
): Promise<RunningGateway> {
  const { clock = systemClock } = parts;
  const log = parts.log.child({ subsystem: 'gateway' });
  const { tls: files, tlsPolicy: policy = defaultTlsPolicy } = options;
  const tls = files && (await openGatewayTls(files, { policy, clock, log }));
  const server = new GatewayServer(options, { ...parts, clock, log }, tls);
  try {
    await server.listen();
  } catch (thrown) {
    await server.close();
    throw thrown;
  }
  log.info('gateway listens', {
    url: server.url,
    clientCertificates: files?.clientCaFile !== undefined,
  });
  return server;
}

class GatewayServer implements RunningGateway {
  isDraining = false;
  readonly #options: GatewayServerOptions;
  readonly #log: Logger;
  readonly #tls: ReloadedFiles<SecureContextOptions> | undefined;
  readonly #server: Server;
  readonly #limits: GatewayServerLimits;
  readonly #http1 = new Set<Http1Connection>();
  readonly #http2 = new Set<Http2Connection>();
  readonly #guard: ConnectionGuard;
  readonly #context: GatewayContext;
  readonly #sockets = new Set<Socket>();
  readonly #idle = new Condition(() => this.#isIdle);
  #isClosing = false;

  constructor(
    options: GatewayServerOptions,
    parts: GatewayServerParts & { readonly clock: Clock },
    tls: ReloadedFiles<SecureContextOptions> | undefined,
  ) {
    const limits = { ...defaultServerLimits, ...parts.limits };
    const { gateway, open, isKnownCluster = () => undefined, clock, log } = parts;
    const { metrics = noMetrics } = parts;
    this.#options = options;
    this.#log = log;
    this.#tls = tls;
    this.#limits = limits;
    this.#context = {
      ...{ gateway, open, isKnownCluster, clock, log },
      requests: new Set(),
      onEnded: () => this.#idle.changed(),
    };
    this.#server = this.#makeServer();
    this.#guard = new ConnectionGuard(this.#server, {
      limits: connectionLimits(limits),
      listener: 'gateway',
      log,
      trustedProxies: options.trustedProxies,
      onClosed: metrics.counter(
        'closed_connections',
        'Connections of HTTP clients that were closed by their limits, by reason',
        'reason',
      ),
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      keepAlive(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#exposeMetrics(metrics, parts.userLimits);
  }

  get address(): HostPort {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  get url(): string {
    const { host, port } = this.address;
    const scheme = this.#tls === undefined ? 'http' : 'https';
    return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  async listen(): Promise<void> {
    await listenAt(this.#server, this.#options.listen, this.#log);
  }

  async drain(signal: AbortSignal): Promise<void> {
    const { minDrainMs = 0 } = this.#options;
    this.isDraining = true;
    this.#log.info('gateway drains', { open: this.#context.requests.size, delayMs: minDrainMs });
    if (minDrainMs > 0) await sleep(this.#context.clock, minDrainMs, signal).catch(() => {});
    this.#isClosing = true;
    if (this.#server.listening) this.#server.close();
    for (const connection of this.#http1) connection.shutdown();
    for (const connection of this.#http2) connection.shutdown();
    await this.#idle.wait(signal);
    await this.close();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#tls?.close();
    this.#guard[Symbol.dispose]();
    for (const request of this.#context.requests) request.cut();
    for (const connection of this.#http2) connection.close();
    const closed = this.#server.listening
      ? new Promise<void>((resolve) => void this.#server.close(() => resolve()))
      : Promise.resolve();
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** No request is open or on its way over HTTP/2, and no client still reads its last answer. */
  get #isIdle(): boolean {
    if (this.#context.requests.size > 0) return false;
    for (const { isLingering } of this.#http1) if (isLingering) return false;
    for (const { isDrained } of this.#http2) if (!isDrained) return false;
    return true;
  }

  #makeServer(): Server {
    // A connection that carries another protocol may end in one direction first.
    const common = { allowHalfOpen: true, noDelay: true };
    const tls = this.#tls;
    if (tls === undefined) return createServer(common, (socket) => this.#accept(socket));
    const server = createTlsServer({
      ...common,
      ...tls.value,
      requestCert: tls.value.ca !== undefined,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: this.#limits.headTimeoutMs,
    });
    // Established connections keep the certificate of their handshake.
    tls.onChange((changed) => server.setSecureContext(changed));
    server.on('secureConnection', (socket) => this.#accept(socket));
    // Node does not close the connection when the handshake takes too long.
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  #accept(socket: Socket & { readonly alpnProtocol?: string | false | null }): void {
    const connection = new ClientConnection(socket, {
      guard: this.#guard,
      trustedProxies: this.#options.trustedProxies,
      certificate: certificateOf(socket),
      clock: this.#context.clock,
      refusalTimeoutMs: this.#limits.headTimeoutMs,
    });
    const parts = { socket, connection, context: this.#context, limits: this.#limits };
    if (socket.alpnProtocol === 'h2') this.#acceptHttp2(parts);
    else this.#acceptHttp1(parts);
  }

  #acceptHttp1(parts: Omit<Http1ConnectionOptions, 'onClosed'>): void {
    const served = new Http1Connection({
      ...parts,
      onClosed: () => {
        this.#http1.delete(served);
        this.#idle.changed();
      },
    });
    this.#http1.add(served);
    served.isLast = this.#isClosing;
  }

  #acceptHttp2(parts: Omit<Http2ConnectionOptions, 'onDrained' | 'onClosed'>): void {
    const served = new Http2Connection({
      ...parts,
      onDrained: () => this.#idle.changed(),
      onClosed: () => this.#http2.delete(served),
    });
    this.#http2.add(served);
    if (this.#isClosing) served.shutdown();
  }

  #exposeMetrics(metrics: GatewayMetrics, limits: UserLimits): void {
    exposeGateway(metrics, {
      connections: () => this.#guard.count,
      unauthenticatedConnections: () => this.#guard.unauthenticatedCount,
      requests: () => this.#context.requests.size,
      longRunningRequests: () => limits.longRunning,
      queuedRequests: () => limits.queued,
      tlsFilesStale: () => this.#tls?.stale === true,
    });
  }
}
