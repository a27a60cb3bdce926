import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { systemClock } from '../../base/clock.ts';
import { TokenVerifier } from '../../base/enrolment-token.ts';
import type { Logger } from '../../base/logger.ts';
import { Metrics } from '../../base/metrics.ts';
import { version } from '../../base/version.ts';
import { PooledDialer } from '../../dialer/pooled-dialer.ts';
import type { Dialer } from '../../dialer/dialer.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import { AcceptRate } from '../accept-rate.ts';
import { createApp, RejectionCounts } from '../app.ts';
import { openAuthenticator, type Authenticator } from '../authenticator.ts';
import { Hub } from '../hub.ts';
import { ReplicaAuthenticator } from '../replica-authenticator.ts';
import { TokenAuthenticator } from '../token-authenticator.ts';
import { exposeBroker } from './metrics.ts';
import type { BrokerOptions } from './options.ts';
import { joinReplicas } from './replicas.ts';
import { serveUpgrades } from './upgrade.ts';

/** A connection must get somewhere within this, in milliseconds: TLS handshake, request head, whole request. */
const handshakeTimeoutMs = 8_000;
const checkConnectionsMs = 1_000;

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
  /** What its /metrics answers, with what others in the process count (default: its own alone). */
  readonly metrics?: Metrics;
}

/**
 * Starts a broker that is alone.
 *
 * @throws Error when an address is taken or a file cannot be read
 */
export async function startBroker(
  options: BrokerOptions,
  deps: BrokerParts,
): Promise<RunningBroker> {
  const log = deps.log.child({ replica: options.replicaId });
  const address = options.replicaAddress?.href ?? '';
  const { directory, key, forward } = await joinReplicas(options, log);
  const hub = new Hub({
    replica: options.replicaId,
    address,
    directory,
    ...(forward === undefined ? {} : { forward }),
    clock: systemClock,
    log,
  });
  const authenticator = await makeAuthenticator(options);
  const rejections = new RejectionCounts();
  const metrics = deps.metrics ?? new Metrics();
  exposeBroker(metrics.group('culvert_broker'), hub, rejections);
  const app = createApp(
    {
      hub,
      authenticator:
        key === undefined ? authenticator : new ReplicaAuthenticator(key, address, authenticator),
      acceptRate: new AcceptRate(options.acceptRate, systemClock),
      metrics: () => metrics.render(),
      log,
    },
    rejections,
  );
  const server = await makeServer(options);
  server.headersTimeout = handshakeTimeoutMs;
  server.requestTimeout = handshakeTimeoutMs;
  const listener = getRequestListener((request) => app.fetch(request, {}), {
    overrideGlobalObjects: false,
  });
  server.on('request', (request, response) => void listener(request, response));
  serveUpgrades(server, app, log);
  await listen(server, options);
  const dialer = new PooledDialer({
    connect: async (cluster) => {
      const [near, far] = memoryLinkPair(queueMicrotask, { peers: ['broker', 'bridge'] });
      hub.admitDialer(far, cluster, 'bridge');
      return near;
    },
    clock: systemClock,
    log: log.child({ subsystem: 'dialer' }),
    software: `culvert-bridge/${version}`,
    metrics: metrics.group('culvert_session'),
  });
  return new Broker(options, hub, server, dialer);
}

class Broker implements RunningBroker {
  readonly url: string;
  readonly dialer: PooledDialer;
  readonly #options: BrokerOptions;
  readonly #hub: Hub;
  readonly #server: Server;

  constructor(options: BrokerOptions, hub: Hub, server: Server, dialer: PooledDialer) {
    this.#options = options;
    this.#hub = hub;
    this.#server = server;
    this.dialer = dialer;
    const { address, family, port } = server.address() as AddressInfo;
    const host = family === 'IPv6' ? `[${address}]` : address;
    this.url = `${options.tlsCert === undefined ? 'ws' : 'wss'}://${host}:${port}`;
  }

  async drain(signal: AbortSignal): Promise<void> {
    // What the bridge in this process still has open ends with it, and its agents must hear that before their tunnels close.
    signal.addEventListener('abort', () => this.dialer.close(), { once: true });
    await this.#hub.drain(signal, this.#options.drainTimeoutMs);
    await this.close();
  }

  async close(): Promise<void> {
    this.dialer.close();
    this.#hub.close();
    await this.#hub.options.directory.close();
    if (!this.#server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function makeAuthenticator(options: BrokerOptions): Promise<Authenticator> {
  if (options.tokenPublicKey.length === 0) return openAuthenticator;
  const pems = await Promise.all(options.tokenPublicKey.map((path) => readFile(path, 'utf8')));
  return new TokenAuthenticator(await TokenVerifier.fromPem(pems));
}

async function makeServer(options: BrokerOptions): Promise<Server> {
  const { tlsCert, tlsKey } = options;
  const http = { connectionsCheckingInterval: checkConnectionsMs, noDelay: true };
  if (tlsCert === undefined || tlsKey === undefined) return createHttpServer(http);
  const [cert, key] = await Promise.all([readFile(tlsCert), readFile(tlsKey)]);
  return createHttpsServer({
    ...http,
    cert,
    key,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  });
}

async function listen(server: Server, options: BrokerOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(options.listen.port, options.listen.host, resolve);
  await promise;
  server.removeListener('error', reject);
}
