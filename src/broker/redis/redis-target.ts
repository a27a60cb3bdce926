import { Secret } from '../../base/secret.ts';

export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

interface RedisAccess {
  readonly tls?: boolean;
  readonly username?: string;
  readonly password?: Secret;
  /** Only addresses of this family are used for names (default: both). */
  readonly family?: 4 | 6;
}

/** The address of Redis or Valkey, and our user there. */
export type RedisTarget = RedisAccess &
  (
    | { readonly kind: 'single'; readonly node: RedisNode; readonly db?: number }
    | {
        readonly kind: 'sentinel';
        readonly sentinels: readonly RedisNode[];
        readonly masterName: string;
        /** Our user at the sentinels, which have users of their own. */
        readonly sentinelUsername?: string;
        readonly sentinelPassword?: Secret;
        readonly db?: number;
      }
    /** Some nodes of the cluster, which know the other nodes. */
    | { readonly kind: 'cluster'; readonly clusterNodes: readonly RedisNode[] }
  );

const forms =
  'redis://[user:password@]host[:port][/db], redis+sentinel://[user:password@]host[:port],host[:port]/master[/db] or ' +
  'redis+cluster://[user:password@]host[:port],host[:port], with rediss for TLS';
/**
 * Everything up to the last @ is the user and the password, because the rest must not contain an @.
 */
const shape =
  /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:(.*)@)?([^@/?#]+)(?:\/([^@/?#]*))?(?:\/(\d+))?\/?(?:\?([^@#]*))?$/s;
const defaultPorts = { single: 6379, sentinel: 26379, cluster: 6379 } as const;

/**
 * Reads where Redis is from a URL: `redis://` or `rediss://` for one server,
 * `redis+sentinel://…/master` and `redis+cluster://` with several hosts for the others (with TLS:
 * `rediss+sentinel`, `rediss+cluster`). White space around it does not count. In user and password
 * only `%` must be encoded, as `%25`, and `:` in the user. The query may have `family=4` or
 * `family=6`, and for Sentinel `sentinel_user` and `sentinel_password`.
 *
 * @throws Error its message never repeats a part of the URL, for even a host may be a part of a
 *   password there
 */
export function parseRedisUrl(url: string): RedisTarget {
  const [, s, form, user, hosts, first, second, query] = shape.exec(url.trim()) ?? [];
  if (hosts === undefined) throw new Error(`the Redis URL has none of the forms ${forms}`);
  const kind = (form ?? 'single') as RedisTarget['kind'];
  const nodes = hosts.split(',').map((host) => parseNode(host, defaultPorts[kind]));
  const { sentinel, ...shared } = parseQuery(query, kind);
  const access = { tls: s === 's', ...parseUser(user), ...shared };
  if (kind === 'cluster') {
    if (first) throw new Error('a Redis Cluster has one database: its URL ends after the hosts');
    return { kind, clusterNodes: nodes, ...access };
  }
  if (kind === 'sentinel') {
    if (!first) throw new Error('the URL of a Redis Sentinel ends in /<name of the master>');
    const masterName = decode(first, 'name of the master');
    const db = parseDatabase(second);
    return { kind, sentinels: nodes, masterName, db, ...access, ...sentinel };
  }
  if (nodes.length > 1) {
    throw new Error('a redis:// URL names one server; several are redis+sentinel or redis+cluster');
  }
  if (second !== undefined) throw noDatabase();
  return { kind, node: nodes[0]!, db: parseDatabase(first), ...access };
}

function parseDatabase(text: string | undefined): number {
  if (!text) return 0;
  const db = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(db)) throw noDatabase();
  return db;
}

function noDatabase(): Error {
  return new Error('the path of a redis:// URL is the number of a database');
}

function parseQuery(query: string | undefined, kind: RedisTarget['kind']) {
  // Only a % is special in the values, as in user and password; a + is a +.
  const fields = new Map<string, string>();
  for (const pair of (query ?? '').split('&').filter((part) => part !== '')) {
    const [name = ''] = pair.split('=', 1);
    fields.set(name, decode(pair.slice(name.length + 1), name));
  }
  const take = (name: string) => {
    const value = fields.get(name);
    fields.delete(name);
    return value === '' ? undefined : value;
  };
  const family = take('family');
  if (family !== undefined && family !== '0' && family !== '4' && family !== '6') {
    throw new Error('family in the Redis URL is 4 for IPv4, 6 for IPv6 or 0 for both');
  }
  const sentinelUsername = kind === 'sentinel' ? take('sentinel_user') : undefined;
  const sentinelPassword = kind === 'sentinel' ? take('sentinel_password') : undefined;
  if (fields.size > 0) {
    const known = kind === 'sentinel' ? 'family, sentinel_user and sentinel_password' : 'family';
    throw new Error(`the query of the Redis URL has other fields than ${known}`);
  }
  return {
    ...((family === '4' || family === '6') && { family: Number(family) as 4 | 6 }),
    sentinel: {
      ...(sentinelUsername !== undefined && { sentinelUsername }),
      ...(sentinelPassword !== undefined && { sentinelPassword: new Secret(sentinelPassword) }),
    },
  };
}

/** Names the target in logs, without the password. */
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
  const [, bracketed, plain, port] =
    /^(?:\[([^\]\s]+)\]|([^:[\]\s]+))(?::(\d+))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const number = Number(port ?? defaultPort);
  if (host === undefined || number < 1 || number > 65_535) {
    throw new Error('a host in the Redis URL is not host[:port]; is there an @ before the hosts?');
  }
  return { host, port: number };
}

function parseUser(text: string | undefined): Pick<RedisAccess, 'username' | 'password'> {
  if (text === undefined || text === '') return {};
  const colon = text.indexOf(':');
  const username = decode(colon < 0 ? text : text.slice(0, colon), 'user');
  if (colon < 0) return { username };
  const password = new Secret(decode(text.slice(colon + 1), 'password'));
  return username === '' ? { password } : { username, password };
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Not kept as the cause, which may quote the password.
    throw new Error(
      `the ${what} in the Redis URL has a % that is not part of an encoded character; write % itself as %25`,
    );
  }
}
