import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { systemClock } from '../../base/clock.ts';
import { guardedServerOptions, guardHttpServer } from '../../base/server/guarded-http.ts';
import type { Logger } from '../../base/log/logger.ts';
import { exposeFiles } from '../../base/metrics/file-metrics.ts';
import { Metrics } from '../../base/metrics/metrics.ts';
import { exposeBroker, exposeClocks, exposeConnections } from './metrics.ts';
import { listenAt } from '../../base/server/listen.ts';
import { startStatusServer } from '../../base/server/status-server.ts';
import { version } from '../../base/version.ts';
import { PooledDialer } from '../../dialer/pooled-dialer.ts';
import type { Dialer } from '../../dialer/dialer.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import { AcceptRate } from '../accept-rate.ts';
import { ClusterAdmission } from '../cluster-admission.ts';
import { defaultAdmissionLimits } from '../admission.ts';
import { AgentClocks } from '../agent-clocks.ts';
import { createApp, RejectionCounts } from '../app.ts';
import { Relay } from '../relay.ts';
import { ReplicaAuthenticator } from '../replica-authenticator.ts';
import { brokerConnectionLimits } from './connection-limits.ts';
import { type Credentials, openCredentials } from './credentials.ts';
import { openHubCluster } from './hub-cluster.ts';
import type { BrokerOptions } from './options.ts';
import { peerOf } from './peer.ts';
import { joinReplicas } from './replicas.ts';
import { upgradeHandler } from './upgrade.ts';

export interface RunningBroker extends AsyncDisposable {
  /** Where agents and remote dialers connect: `ws://` or `wss://`. */
  readonly url: string;
  /** Opens streams from within this process, for a bridge beside the broker. */
  readonly dialer: Dialer;
  /** Takes nobody new, asks everybody to go elsewhere, and ends when they have or when `signal` aborts. */
  drain(signal: AbortSignal): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

export interface BrokerParts {
  readonly log: Logger;
  /** The only cluster that the bridge in this process dials: without an agent of it the broker is not ready. */
  readonly onlyCluster?: string | undefined;
  /** What its /metrics answers, with what others in the process count (default: its own alone). */
  readonly metrics?: Metrics;
}

/**
 * Starts a broker.
 *
 * @throws Error when an address is taken or a file cannot be read
 */
export async function startBroker(
  options: BrokerOptions,
  deps: BrokerParts,
): Promise<RunningBroker> {
  await using starting = new AsyncDisposableStack();
  const log = deps.log.child({ replica: options.replicaId });
  const address = options.replicaAddress?.href ?? '';
  const { directory, keys, forward, files } = await joinReplicas(options, log);
  const relay = new Relay({
    replica: options.replicaId,
    address,
    directory,
    ...(forward === undefined ? {} : { forward }),
    onlyCluster: deps.onlyCluster,
    clock: systemClock,
    log,
  });
  starting.defer(() => directory.close());
  for (const file of files) starting.use(file);
  const hubCluster =
    options.hub === undefined
      ? undefined
      : starting.use(openHubCluster(options.hub, options.proxies, log));
  const parts = { clock: systemClock, log };
  const credentials = starting.use(
    await openCredentials(options, { ...parts, reviewer: hubCluster?.reviewer }),
  );
  const clusterAdmission =
    hubCluster && new ClusterAdmission(hubCluster.clusters, { ...parts, tunnels: relay });
  if (clusterAdmission !== undefined) starting.defer(() => clusterAdmission.close());
  const { authenticator } = credentials;
  const rejections = new RejectionCounts();
  const metrics = deps.metrics ?? new Metrics();
  exposeBroker(metrics.group('culvert_broker'), relay, rejections);
  const hubCa = hubCluster === undefined ? [] : [hubCluster.ca];
  exposeFiles(metrics.group('culvert_broker'), [...credentials.files, ...files, ...hubCa]);
  const clocks = new AgentClocks(log);
  exposeClocks(metrics.group('culvert_broker'), clocks);
  const app = createApp(
    {
      relay,
      agentClocks: clocks,
      clock: systemClock,
      authenticator:
        keys === undefined ? authenticator : new ReplicaAuthenticator(keys, address, authenticator),
      acceptRate: new AcceptRate(options.acceptRate, systemClock),
      clusterAdmission,
      limits: {
        ...defaultAdmissionLimits,
        maxTunnelsPerCluster: options.maxTunnelsPerCluster,
      },
      // Where probes and scrapers have a port of their own, strangers do not get to see it here.
      metrics: options.statusListen === undefined ? () => metrics.render() : undefined,
      log,
    },
    rejections,
  );
  const { maxConnections, trustedProxies } = options;
  const limits = brokerConnectionLimits(maxConnections);
  const server = makeServer(credentials, limits.requestTimeoutMs);
  const of = (message: IncomingMessage) => peerOf(message, trustedProxies);
  const listener = getRequestListener(
    (request, { incoming }) => app.fetch(request, { peer: of(incoming as IncomingMessage) }),
    { overrideGlobalObjects: false },
  );
  const guard = guardHttpServer(server, {
    limits,
    listener: 'agents and dialers',
    log,
    trustedProxies,
    onRequest: (message, response) => void listener(message, response),
    onUpgrade: upgradeHandler({
      app,
      log,
      peerOf: of,
      onLink: (link, client) => {
        clusterAdmission?.admitted(client, link);
        relay.admit(link, client);
      },
    }),
  });
  starting.use(guard);
  exposeConnections(metrics.group('culvert_broker'), guard);
  await listenAt(server, options.listen, log);
  starting.defer(() => closeServer(server));
  relay.expectAgents();
  const unready = (): string | undefined => relay.unready;
  if (options.statusListen !== undefined) {
    starting.use(
      await startStatusServer(
        options.statusListen,
        { unready, degraded: () => directory.degraded, metrics: () => metrics.render() },
        log,
      ),
    );
  }
  const dialer = new PooledDialer({
    connect: async (cluster) => {
      const [near, far] = memoryLinkPair(queueMicrotask, { peers: ['broker', 'bridge'] });
      relay.admit(far, { kind: 'dialer', cluster, dialer: 'bridge' });
      return near;
    },
    clock: systemClock,
    log: log.child({ subsystem: 'dialer' }),
    software: `culvert-bridge/${version}`,
    metrics: metrics.group('culvert_session'),
  });
  starting.defer(() => relay.close());
  starting.defer(() => dialer.close());
  return new Broker(options, { relay, server, dialer, parts: starting.move() });
}

interface OwnParts {
  readonly relay: Relay;
  readonly server: Server;
  readonly dialer: PooledDialer;
  /** Everything that ends with the broker, in the order of its making. */
  readonly parts: AsyncDisposableStack;
}

class Broker implements RunningBroker {
  readonly url: string;
  readonly dialer: PooledDialer;
  readonly #options: BrokerOptions;
  readonly #relay: Relay;
  readonly #parts: AsyncDisposableStack;
  #closing: Promise<void> | undefined;

  constructor(options: BrokerOptions, { relay, server, dialer, parts }: OwnParts) {
    this.#options = options;
    this.#relay = relay;
    this.#parts = parts;
    this.dialer = dialer;
    const { address, family, port } = server.address() as AddressInfo;
    const host = family === 'IPv6' ? `[${address}]` : address;
    this.url = `${options.tlsCert === undefined ? 'ws' : 'wss'}://${host}:${port}`;
  }

  async drain(signal: AbortSignal): Promise<void> {
    // What the bridge in this process still has open ends with it, and its agents must hear that before their tunnels close.
    signal.addEventListener('abort', () => this.dialer.close(), { once: true });
    await this.#relay.drain(signal, this.#options.drainTimeoutMs);
    await this.close();
  }

  close(): Promise<void> {
    this.#closing ??= this.#parts.disposeAsync();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function makeServer({ tls }: Credentials, handshakeTimeoutMs: number): Server {
  if (tls === undefined) return createHttpServer(guardedServerOptions);
  const server = createHttpsServer({
    ...guardedServerOptions,
    ...tls.value,
    // Agents whose TLS ends before us have none; whether one counts is for the authenticator.
    requestCert: tls.value.ca !== undefined,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  });
  // Connections that stand keep what their handshake was made with.
  tls.onChange((changed) => server.setSecureContext(changed));
  return server;
}

async function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  await promise;
}
