import { type Clock, systemClock } from '../base/clock.ts';
import type { ConnectionRefusal } from '../base/server/connection-limits.ts';
import type { Logger } from '../base/log/logger.ts';
import type { ReloadedFiles } from '../base/files/reloaded-files.ts';
import type { Dialer } from '../dialer/dialer.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { BridgeContext } from './bridge-context.ts';
import { destinationResolver } from './destination.ts';
import type { Front } from './front.ts';
import { startHttp2Front } from './http2-front.ts';
import { type BridgeMetrics, type ClientRefusal, noMetrics } from './metrics.ts';
import {
  type BridgeFrontOptions,
  type BridgeLimits,
  checkFrontOptions,
  defaultBridgeLimits,
} from './options.ts';
import { TurnFlusher } from './packet-writer.ts';
import { ProxyStream } from './proxy-stream.ts';
import { PacketBufferPool } from './packet-buffer.ts';
import { openTlsFiles, type TlsMaterial } from './tls-files.ts';

export interface BridgeParts {
  /** Belongs to the caller: the bridge neither drains nor closes it. */
  readonly dialer: Dialer;
  readonly log: Logger;
  readonly metrics?: BridgeMetrics;
  readonly clock?: Clock;
  /** Overrides of `defaultBridgeLimits`. */
  readonly limits?: Partial<BridgeLimits>;
}

export interface RunningBridge extends AsyncDisposable {
  /** Where it listens, TCP first: `host:port`, or the path of the Unix socket. */
  readonly addresses: readonly string[];

  /**
   * Takes no new calls and waits until those that are open have ended; then, or when `signal` aborts, ends everything.
   * Clients are told (GOAWAY) in a way that leaves open calls alone.
   */
  drain(signal: AbortSignal): Promise<void>;

  /** Ends everything at once; open connections are reset. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a konnectivity bridge: takes dials of konnectivity clients and makes them through `parts.dialer`.
 *
 * @throws BridgeError `invalid_options`, `listen_failed`
 */
export async function startBridge(
  options: BridgeFrontOptions,
  parts: BridgeParts,
): Promise<RunningBridge> {
  checkFrontOptions(options);
  const bridge = new Bridge(options, parts);
  try {
    await bridge.listen(options);
  } catch (error) {
    await bridge.close();
    throw error;
  }
  return bridge;
}

class Bridge implements RunningBridge {
  readonly #context: BridgeContext;
  readonly #clientRefused: (why: ClientRefusal) => void;
  readonly #connectionClosed: (why: ConnectionRefusal) => void;
  readonly #fronts: Front[] = [];
  #tls: ReloadedFiles<TlsMaterial> | undefined;
  #onIdle: (() => void) | undefined;

  constructor(options: BridgeFrontOptions, parts: BridgeParts) {
    const metrics = parts.metrics ?? noMetrics;
    this.#context = {
      dialer: parts.dialer,
      resolve: destinationResolver(options),
      limits: { ...defaultBridgeLimits, ...parts.limits },
      pool: new PacketBufferPool(),
      turn: new TurnFlusher(),
      clock: parts.clock ?? systemClock,
      log: parts.log.child({ subsystem: 'konnectivity-bridge' }),
      dialFailed: metrics.counter(
        'dial_failure_count',
        'Dials of konnectivity clients that failed',
        'reason',
      ),
      calls: new Set(),
      pendingDials: new Set(),
      established: new Set(),
      flushing: new Set(),
      onLeft: () => this.#checkIdle(),
    };
    this.#clientRefused = metrics.counter(
      'client_refusal_count',
      'Connections closed although their certificate comes from the client CA, by reason',
      'reason',
    );
    this.#connectionClosed = metrics.counter(
      'closed_connection_count',
      'Connections of konnectivity clients that were closed by their limits, by reason',
      'reason',
    );
    exposeGauges(metrics, this.#context);
    metrics.gauge(
      'tls_files_stale',
      '1 while certificate, key or client CA have changed into something that cannot be used',
      () => (this.#tls?.stale === true ? 1 : 0),
    );
  }

  get addresses(): readonly string[] {
    return this.#fronts.map((front) => front.address);
  }

  async listen(options: BridgeFrontOptions): Promise<void> {
    const { limits, pool, clock, log } = this.#context;
    const shared = {
      limits,
      pool,
      clock,
      log,
      clientRefused: this.#clientRefused,
      connectionClosed: this.#connectionClosed,
      accept: (stream: ConstructorParameters<typeof ProxyStream>[1]) =>
        new ProxyStream(this.#context, stream),
    };
    if (options.listen) {
      this.#tls =
        options.tls && (await openTlsFiles(options.tls, { clock, log, choice: options.tlsChoice }));
      const tls = this.#tls?.value;
      const front = await startHttp2Front({
        ...shared,
        listen: options.listen,
        ...(tls && { tls }),
      });
      this.#fronts.push(front);
      this.#tls?.onChange((material) => front.setTls(material));
    }
    if (options.udsPath !== undefined) {
      this.#fronts.push(await startHttp2Front({ ...shared, listen: options.udsPath }));
    }
    log.info('konnectivity bridge listens', {
      addresses: this.addresses,
      clientCertificates: options.tls !== undefined,
    });
  }

  async drain(signal: AbortSignal): Promise<void> {
    const { log, calls, flushing } = this.#context;
    for (const front of this.#fronts) front.stopAccepting();
    log.info('konnectivity bridge drains', { calls: calls.size, flushing: flushing.size });
    await this.#idle(signal);
    await this.close();
  }

  async close(): Promise<void> {
    this.#tls?.close();
    const ended = new TunnelError('draining', 'the konnectivity bridge has ended');
    for (const connection of this.#context.flushing) connection.endFlush(ended);
    await Promise.all(this.#fronts.map((front) => front.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Resolves when no call is open and nothing is being flushed, or when `signal` aborts. */
  async #idle(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    this.#checkIdle();
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
  }

  #checkIdle(): void {
    if (this.#context.calls.size === 0 && this.#context.flushing.size === 0) this.#onIdle?.();
  }
}

function exposeGauges(metrics: BridgeMetrics, context: BridgeContext): void {
  metrics.gauge(
    'grpc_connections',
    'Calls of ProxyService/Proxy that are open',
    () => context.calls.size,
  );
  metrics.gauge(
    'pending_backend_dials',
    'Dials that wait for their agent',
    () => context.pendingDials.size,
  );
  metrics.gauge(
    'established_connections',
    'Connections that are open between a client and a target',
    () => context.established.size,
  );
  metrics.gauge(
    'flushing_connections',
    'Connections whose client has closed and whose target still takes what was written',
    () => context.flushing.size,
  );
  metrics.gauge(
    'buffered_bytes',
    'Memory that holds bytes on their way to clients',
    () => context.pool.inUseBytes,
  );
}
