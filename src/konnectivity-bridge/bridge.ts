import { LiveGrants } from '../access/live-grants.ts';
import type { WatchedAuthorizer } from '../access/watched-authorizer.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import { isAgentName } from '../base/names/agent-subject.ts';
import type { ConnectionRefusal } from '../base/server/connection-limits.ts';
import type { Logger } from '../base/log/logger.ts';
import type { ReloadedFiles } from '../base/files/reloaded-files.ts';
import type { Dialer } from '../dialer/dialer.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Secret } from '../base/secret.ts';
import { AuthorizedDialer } from './authorized-dialer.ts';
import { subjectOfClient } from './client-subject.ts';
import type { AcceptConnection } from '../konnectivity/client-connection.ts';
import type { BridgeContext } from './bridge-context.ts';
import { ClientShares } from './client-shares.ts';
import { destinationResolver } from './destination.ts';
import type {
  ClientRefusal,
  Front,
  FrontOptions,
  FrontMethods,
  StartFront,
} from '../konnectivity/front.ts';
import type { CertificateSubject } from '../konnectivity/certificate-subject.ts';
import { exposeGauges } from './expose-gauges.ts';
import { acceptHttpConnect } from './http-connect.ts';
import { type BridgeMetrics, noMetrics } from './metrics.ts';
import {
  type BridgeFrontOptions,
  type BridgeLimits,
  checkFrontOptions,
  defaultBridgeLimits,
  type Socks5FrontOptions,
} from './options.ts';
import { ProxyStream } from './proxy-stream.ts';
import { acceptSocks5 } from './socks5.ts';
import { type MakeTokenDialer, TokenDialers } from './token-dialers.ts';
import { WriteTimes } from './write-times.ts';
import { WindowBudget } from '../tunnel/window-budget.ts';
import { maxBacklogBytesOfAll } from './target-writer.ts';
import { PacketBufferPool } from '../konnectivity/packet-buffer.ts';
import { PacketCounts } from '../konnectivity/packet-counts.ts';
import { openTlsFiles, type TlsMaterial } from '../konnectivity/tls-files.ts';
import { startFront } from '../konnectivity/front-listener.ts';

/** Upper bounds, as upstream has them. */
const latencyBucketsSeconds = [1e-6, 1e-5, 1e-4, 0.005, 0.025, 0.1, 0.5, 2.5, 12.5] as const;
const durationBucketsSeconds = [
  ...[1, 5, 15, 30, 60, 300, 900],
  ...[1_800, 3_600, 14_400, 43_200, 86_400],
] as const;

export interface BridgeParts {
  /** Belongs to the caller. The bridge neither drains nor closes it. */
  readonly dialer: Dialer;
  readonly log: Logger;
  readonly metrics?: BridgeMetrics;
  /** Counts the packets of clients (default: the bridge's own, which are not published). */
  readonly packets?: PacketCounts | undefined;
  readonly clock?: Clock;
  /** Overrides of `defaultBridgeLimits`. */
  readonly limits?: Partial<BridgeLimits>;
  /** Makes dialers for SOCKS 5 clients that show a token (default: such clients are refused). */
  readonly makeTokenDialer?: MakeTokenDialer;
  /** Decides which clients reach which targets (default: every client reaches every target). */
  readonly rules?: WatchedAuthorizer | undefined;
  /** The listener (default: our own). */
  readonly startFront?: StartFront;
}

export interface RunningBridge extends AsyncDisposable {
  /** Addresses of the listeners, TCP first: `host:port`, or the path of the Unix socket. */
  readonly addresses: readonly string[];

  /**
   * Takes no new calls and waits until open calls have ended. Then, or when `signal` aborts, ends
   * everything. Clients get a GOAWAY that leaves open calls alone.
   */
  drain(signal: AbortSignal): Promise<void>;

  /** Ends everything at once. Open connections are reset. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a konnectivity bridge, which accepts dials of konnectivity clients and makes them through
 * `parts.dialer`.
 *
 * @throws KonnectivityError `invalid_options`, `listen_failed`
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
  readonly #clientRefused: (reason: ClientRefusal) => void;
  readonly #connectionClosed: (reason: ConnectionRefusal) => void;
  readonly #startFront: StartFront;
  readonly #fronts: Front[] = [];
  readonly #tokenDialers: TokenDialers | undefined;
  readonly #grants: LiveGrants | undefined;
  #tls: ReloadedFiles<TlsMaterial> | undefined;
  /** No call or connection is open and nothing is being flushed. */
  readonly #idle = new Condition(() => {
    const { calls, httpConnections, socksConnections, flushing } = this.#context;
    return calls.size + httpConnections.size + socksConnections.size + flushing.size === 0;
  });

  constructor(options: BridgeFrontOptions, parts: BridgeParts) {
    const metrics = parts.metrics ?? noMetrics;
    const { dialer, rules: authorizer, clock = systemClock } = parts;
    this.#startFront = parts.startFront ?? startFront;
    this.#grants = authorizer && new LiveGrants({ authorizer, clock });
    const rules = authorizer && this.#grants ? { authorizer, grants: this.#grants } : undefined;
    this.#context = {
      dialerFor: (certificate) =>
        rules === undefined
          ? dialer
          : new AuthorizedDialer(dialer, subjectOfClient(certificate), rules),
      resolve: destinationResolver(options),
      isSingleCluster: options.cluster !== undefined,
      limits: { ...defaultBridgeLimits, ...parts.limits },
      pool: new PacketBufferPool(),
      packets: parts.packets ?? new PacketCounts(),
      backlogBudget: new WindowBudget(maxBacklogBytesOfAll),
      shares: new ClientShares(options.shares ?? {}, clock),
      clock,
      log: parts.log.child({ subsystem: 'konnectivity-bridge' }),
      dialed: metrics.histogram(
        'dial_duration_seconds',
        'How long dials of clients took that succeeded',
        latencyBucketsSeconds,
      ),
      dialFailed: metrics.counter(
        'dial_failure_count',
        'Dials of konnectivity clients that failed',
        'reason',
      ),
      connectionEnded: metrics.histogram(
        'connection_duration_seconds',
        'How long connections between a client and a target were open',
        durationBucketsSeconds,
      ),
      writeTimes: new WriteTimes(
        clock,
        metrics.histogram(
          'frontend_write_duration_seconds',
          'How long bytes for clients took to leave the process, measured for some of the writes',
          latencyBucketsSeconds,
        ),
      ),
      calls: new Set(),
      httpConnections: new Set(),
      socksConnections: new Set(),
      pendingDials: new Set(),
      established: new Set(),
      flushing: new Set(),
      onEnded: () => this.#idle.changed(),
    };
    this.#tokenDialers =
      parts.makeTokenDialer && new TokenDialers(parts.makeTokenDialer, this.#context.clock);
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
      '1 while certificate, key or client CA have changed and cannot be used',
      () => (this.#tls?.stale === true ? 1 : 0),
    );
  }

  get addresses(): readonly string[] {
    return this.#fronts.map((front) => front.address);
  }

  async listen(options: BridgeFrontOptions): Promise<void> {
    const { limits, clock, log } = this.#context;
    const methods: FrontMethods = new Map([
      ['/ProxyService/Proxy', (stream) => new ProxyStream(this.#context, stream)],
    ]);
    const konnectivity = { methods, acceptHttp1: acceptHttpConnect(this.#context) };
    const shared = {
      limits,
      clock,
      log,
      refuses: agentCertificate,
      clientRefused: this.#clientRefused,
      connectionClosed: this.#connectionClosed,
    };
    const { listen, udsPath, socks5, tls } = options;
    if (tls !== undefined) {
      this.#tls = await openTlsFiles(tls, { clock, log, choice: options.tlsPolicy });
    }
    const startTcp = async (front: Omit<FrontOptions, 'tls'>): Promise<void> => {
      const started = await this.#startFront({ ...front, tls: this.#tls?.value });
      this.#fronts.push(started);
      this.#tls?.onChange((material) => started.setTls(material));
    };
    if (listen !== undefined) await startTcp({ ...shared, ...konnectivity, listen });
    if (udsPath !== undefined) {
      this.#fronts.push(await this.#startFront({ ...shared, ...konnectivity, listen: udsPath }));
    }
    if (socks5 !== undefined) {
      const acceptSocks5 = this.#acceptSocks5(socks5);
      await startTcp({ ...shared, methods: new Map(), acceptSocks5, listen: socks5.listen });
    }
    log.info('konnectivity bridge listens', {
      addresses: this.addresses,
      clientCertificates: options.tls !== undefined,
    });
  }

  async drain(signal: AbortSignal): Promise<void> {
    const { log, calls, httpConnections, socksConnections, flushing } = this.#context;
    for (const front of this.#fronts) front.stopAccepting();
    log.info('konnectivity bridge drains', {
      calls: calls.size,
      connections: httpConnections.size + socksConnections.size,
      flushing: flushing.size,
    });
    await this.#idle.wait(signal);
    await this.close();
  }

  async close(): Promise<void> {
    this.#tls?.close();
    this.#tokenDialers?.[Symbol.dispose]();
    this.#grants?.[Symbol.dispose]();
    const ended = new TunnelError('draining', 'the konnectivity bridge has ended');
    for (const connection of this.#context.flushing) connection.endFlush(ended);
    await Promise.all(this.#fronts.map((front) => front.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #acceptSocks5({ requiresToken }: Socks5FrontOptions): AcceptConnection {
    const dialerOf = (token: Secret) => this.#tokenDialers?.get(token);
    return acceptSocks5(this.#context, { requiresToken, dialerOf });
  }
}

/**
 * Refuses a certificate that is an agent's. Cluster Proxy used the client CA for its agents too,
 * and their certificates are still valid.
 */
function agentCertificate(subject: CertificateSubject): ClientRefusal | undefined {
  const names = [...subject.commonNames, ...subject.organizations];
  return names.some(isAgentName) ? 'agent_certificate' : undefined;
}
