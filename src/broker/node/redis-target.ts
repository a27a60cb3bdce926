import { Secret } from '../../base/secret.ts';

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

interface RedisAccess {
  readonly tls?: boolean;
  readonly username?: string;
  readonly password?: Secret;
}

/** Where Redis (or Valkey) is, and who we are there. */
export type RedisTarget = RedisAccess &
  (
    | { readonly kind: 'single'; readonly node: RedisNode; readonly db?: number }
    | {
        readonly kind: 'sentinel';
        readonly sentinels: readonly RedisNode[];
        readonly masterName: string;
        readonly db?: number;
      }
    /** Some nodes of the cluster; they tell of the others. */
    | { readonly kind: 'cluster'; readonly clusterNodes: readonly RedisNode[] }
  );

const forms =
  'redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],host[:port]/master[/db] or ' +
  'redis+cluster://[user:password@]host[:port],host[:port], with rediss for TLS';
const shape =
  /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^/?#]*))?(?:\/(\d+))?\/?$/;
const defaultPorts = { single: 6379, sentinel: 26379, cluster: 6379 } as const;

/**
 * Reads where Redis is from a URL: `redis://` or `rediss://` for one server, `redis+sentinel://…/master` and
 * `redis+cluster://` with several hosts for the others (with TLS: `rediss+sentinel`, `rediss+cluster`).
 *
 * @throws Error in a sentence that never holds the URL, for there may be a password in it
 */
export function parseRedisUrl(url: string): RedisTarget {
  const [, s, form, user, hosts, first, second] = shape.exec(url) ?? [];
  if (hosts === undefined) throw new Error(`the Redis URL has none of the forms ${forms}`);
  const kind = (form ?? 'single') as RedisTarget['kind'];
  const nodes = hosts.split(',').map((host) => parseNode(host, defaultPorts[kind]));
  const access = { tls: s === 's', ...parseUser(user) };
  if (kind === 'cluster') {
    if (first) throw new Error('a Redis Cluster has one database: its URL ends after the hosts');
    return { kind, clusterNodes: nodes, ...access };
  }
  if (kind === 'sentinel') {
    if (!first) throw new Error('the URL of a Redis Sentinel ends in /<name of the master>');
    const masterName = decodeURIComponent(first);
    return { kind, sentinels: nodes, masterName, db: Number(second ?? 0), ...access };
  }
  if (nodes.length > 1) {
    throw new Error('a redis:// URL names one server; several are redis+sentinel or redis+cluster');
  }
  const db = Number(first ?? 0);
  if (!Number.isSafeInteger(db) || second !== undefined) {
    throw new Error('the path of a redis:// URL is the number of a database');
  }
  return { kind, node: nodes[0]!, db, ...access };
}

/** How logs name it: without the password. */
export function describeTarget(target: RedisTarget): string {
  if (target.kind === 'single') return formatNode(target.node);
  if (target.kind === 'cluster') {
    return `the cluster of ${target.clusterNodes.map(formatNode).join(', ')}`;
  }
  return `${target.masterName} of the sentinels ${target.sentinels.map(formatNode).join(', ')}`;
}

function formatNode({ host, port }: RedisNode): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function parseNode(text: string, defaultPort: number): RedisNode {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const number = Number(port ?? defaultPort);
  if (host === undefined || number < 1 || number > 65_535) {
    throw new Error(`the Redis URL names the host ${JSON.stringify(text)}, expected host[:port]`);
  }
  return { host, port: number };
}

function parseUser(text: string | undefined): Pick<RedisAccess, 'username' | 'password'> {
  if (text === undefined || text === '') return {};
  const colon = text.indexOf(':');
  const username = decodeURIComponent(colon < 0 ? text : text.slice(0, colon));
  if (colon < 0) return { username };
  const password = new Secret(decodeURIComponent(text.slice(colon + 1)));
  return username === '' ? { password } : { username, password };
}
