import { once } from 'node:events';
import { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { AbstractConnector, Cluster, Redis, type RedisOptions } from 'ioredis';
import { asError } from '../../base/error.ts';
import { connectTcp } from '../../base/net/connect-tcp.ts';
import { redisScripts } from './redis-scripts.ts';
import type { RedisNode, RedisTarget } from './redis-target.ts';

// The only file that imports ioredis.
export type RedisClient = Redis | Cluster;
export type RedisSubscriber = Redis;

export interface RedisClientOptions {
  readonly target: RedisTarget;
  readonly tls: ConnectionOptions | undefined;
  /** How long an answer may take, in milliseconds. */
  readonly commandTimeoutMs: number;
}

const scripts = Object.fromEntries(
  Object.values(redisScripts).map(({ name, lua }) => [name, { lua, numberOfKeys: 1 }]),
);

/** Makes a client for commands. It connects on request, and reconnects after `retryDelayMs()`. */
export function makeClient(options: RedisClientOptions, retryDelayMs: () => number): RedisClient {
  const { target } = options;
  if (target.kind !== 'cluster') {
    return new Redis({ ...serverOptions(options), scripts, retryStrategy: retryDelayMs });
  }
  const startup = target.clusterNodes.map((node) => ({ ...node }));
  return new Cluster(startup, {
    scripts,
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: retryDelayMs,
    redisOptions: commonOptions(options),
    // The connector resolves names. A certificate is for a node's name, not for the address that it
    // resolves to.
    dnsLookup: (host, found) => found(null, host),
  });
}

/**
 * Makes a client for messages that connects once. In Redis Cluster every node passes on every
 * message, so it uses any of `nodes`.
 */
export function makeSubscriber(
  options: RedisClientOptions,
  nodes: readonly RedisNode[],
): RedisSubscriber {
  const { target } = options;
  const configured = target.kind === 'cluster' ? target.clusterNodes : [];
  const known = nodes.length > 0 ? nodes : configured;
  const node = known[Math.floor(Math.random() * known.length)];
  return new Redis({ ...serverOptions(options), ...node, retryStrategy: () => null });
}

export function isCluster(client: RedisClient): client is Cluster {
  return client instanceof Cluster;
}

/** The nodes that a client of a cluster has found. */
export function clusterNodes(client: RedisClient): RedisNode[] {
  if (!isCluster(client)) return [];
  return client.nodes().flatMap(({ options: { host, port } }) => {
    return host === undefined || port === undefined ? [] : [{ host, port }];
  });
}

type ServerOptions = RedisOptions & { readonly replyMapping: 'legacy' };

function serverOptions(options: RedisClientOptions): ServerOptions {
  const { target, tls, commandTimeoutMs } = options;
  const common = commonOptions(options);
  if (target.kind === 'single') return { ...common, ...target.node, db: target.db ?? 0 };
  if (target.kind === 'cluster') return common;
  const { sentinelUsername, sentinelPassword } = target;
  return {
    ...common,
    sentinels: target.sentinels.map((node) => ({ ...node })),
    name: target.masterName,
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword: sentinelPassword.reveal() }),
    db: target.db ?? 0,
    sentinelCommandTimeout: commandTimeoutMs,
    failoverDetector: true,
    ...(tls && { enableTLSForSentinelMode: true, sentinelTLS: tls }),
  };
}

function commonOptions({ target, tls, commandTimeoutMs }: RedisClientOptions): ServerOptions {
  const { username, password, family } = target;
  return {
    // The sentinel connector of ioredis makes its connections itself.
    ...(target.kind !== 'sentinel' && { Connector: RedisConnector }),
    lazyConnect: true,
    replyMapping: 'legacy',
    connectTimeout: commandTimeoutMs,
    // A connection without any answer is lost, and its commands fail.
    socketTimeout: 2 * commandTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A master that has become a replica keeps its connections, so they must be replaced.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    ...(family !== undefined && { family }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password: password.reveal() }),
    ...(tls && { tls }),
  };
}

const defaultConnectTimeoutMs = 10_000;

/** The options that ioredis passes to a connector. */
interface ConnectorOptions {
  readonly host?: string;
  readonly port?: number;
  /** 4 or 6; 0 and undefined: both. */
  readonly family?: 0 | 4 | 6;
  readonly tls?: ConnectionOptions;
  readonly connectTimeout?: number;
  readonly disconnectTimeout?: number;
}

/**
 * Connects ioredis to a server in the same way as all our connections: a slow name lookup delays
 * nothing else, and of several addresses the first that answers is used. Node alone gives up an
 * address after 250 ms.
 */
class RedisConnector extends AbstractConnector {
  readonly #options: ConnectorOptions;

  /** ioredis calls it with all its options. */
  constructor(options: unknown) {
    const known = options as ConnectorOptions;
    super(known.disconnectTimeout ?? 0);
    this.#options = known;
  }

  /** Resolves with a closed socket if the connection fails, so that ioredis tries again. */
  override async connect(): ReturnType<AbstractConnector['connect']> {
    this.connecting = true;
    const { host = '127.0.0.1', port = 6379, family, tls, connectTimeout } = this.#options;
    const timeoutMs = connectTimeout ?? defaultConnectTimeoutMs;
    let stream: Socket | undefined;
    try {
      const wanted = family === 4 || family === 6 ? { family } : {};
      stream = await connectTcp({ host, port }, { ...wanted, timeoutMs });
      if (tls !== undefined) {
        stream = connectTls({ host, ...tls, socket: stream });
        // An error before ioredis listens is thrown below.
        stream.on('error', () => {});
        await once(stream, 'secureConnect', { signal: AbortSignal.timeout(timeoutMs) });
      }
      if (!this.connecting) stream.destroy();
    } catch (thrown) {
      stream ??= new Socket();
      stream.destroy();
      this.firstError = asError(thrown);
    }
    this.stream = stream;
    return stream;
  }
}
