import type { ConnectionOptions } from 'node:tls';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { redisScripts } from './redis-scripts.ts';
import type { RedisNode, RedisTarget } from './redis-target.ts';

// The one door to ioredis.
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

/** A client for commands that connects when it is told to, and again after `retryDelayMs()` whenever that is lost. */
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
    // A certificate is for the name that a node gives itself, not for what the name resolves to.
    ...(target.tls === true && { dnsLookup: (host, found) => found(null, host) }),
  });
}

/** A client for messages, for one connection. In a cluster every node passes every message on, so any of `nodes` will do. */
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
    lazyConnect: true,
    replyMapping: 'legacy',
    connectTimeout: commandTimeoutMs,
    // A connection on which nothing comes back is lost, and what waits on it fails.
    socketTimeout: 2 * commandTimeoutMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A master that has become a replica keeps its connections.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    ...(family !== undefined && { family }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password: password.reveal() }),
    ...(tls && { tls }),
  };
}
