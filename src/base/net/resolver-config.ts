import { isIP } from 'node:net';

/** The settings in resolv.conf(5). */
export interface ResolverConfig {
  /** `address` or `[address]:port`. Empty when the file names no server. */
  readonly servers: readonly string[];
  /** Domains to append to names with few dots. */
  readonly search: readonly string[];
  /** Names with at least this many dots are tried unchanged first. */
  readonly ndots: number;
  /** How long one server may take for its first answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly attempts: number;
  /** True when each lookup starts with the next server. */
  readonly rotate: boolean;
}

/** The largest number of servers that glibc uses. */
const maxServers = 3;
const maxSearchDomains = 32;
const maxNdots = 15;

/**
 * The default is shorter than glibc's 5 s, because one lost packet must not use up the time of a
 * dial, which is 5 s by default. There is one more attempt than glibc's 2.
 */
const defaultTimeoutMs = 2_000;
const defaultAttempts = 3;

/**
 * Reads resolv.conf(5). Unknown lines and options are skipped. `nameserver` also accepts a port
 * (`127.0.0.1:5353`, `[::1]:5353`).
 *
 * @param hostName this machine's name; its domain is searched when the file names none, as in glibc
 *   and Go
 */
export function parseResolverConfig(text: string, hostName: string): ResolverConfig {
  const servers: string[] = [];
  const options = new Map<string, number>();
  let search: readonly string[] | undefined;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) servers.push(values[0]);
    // The last one counts.
    if (keyword === 'search' || keyword === 'domain') search = values;
    if (keyword === 'options') {
      for (const value of values) {
        const [name = '', number] = value.split(':');
        options.set(name, number === undefined ? 1 : Number(number));
      }
    }
  }
  const own = hostName.includes('.') ? [hostName.slice(hostName.indexOf('.') + 1)] : [];
  const number = (name: string, min: number, max: number, fallback: number): number => {
    const given = options.get(name) ?? Number.NaN;
    return Number.isSafeInteger(given) ? Math.min(max, Math.max(min, given)) : fallback;
  };
  return {
    servers: servers.filter(isServer).slice(0, maxServers),
    search: (search ?? own)
      .map((domain) => domain.toLowerCase().replace(/^\.+|\.+$/g, ''))
      .filter((domain) => domain !== '')
      .slice(0, maxSearchDomains),
    ndots: number('ndots', 0, maxNdots, 1),
    timeoutMs: 1_000 * number('timeout', 1, 30, defaultTimeoutMs / 1_000),
    attempts: number('attempts', 1, 5, defaultAttempts),
    rotate: options.has('rotate'),
  };
}

/**
 * The names to look up, in the order of glibc. A name with a final dot is used unchanged. A name
 * with at least `ndots` dots is tried unchanged first, and then with each search domain. Any other
 * name is tried with each search domain first.
 */
export function candidateNames(name: string, { search, ndots }: ResolverConfig): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const dots = name.split('.').length - 1;
  const searched = search.map((domain) => `${name}.${domain}`);
  const all = dots >= ndots ? [name, ...searched] : [...searched, name];
  return all.filter(isAskable);
}

/** Whether a name fits into a DNS question (RFC 1035, section 3.1). */
function isAskable(name: string): boolean {
  return name.length <= 253 && name.split('.').every(({ length }) => length > 0 && length <= 63);
}

function isServer(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([\d.]+)):(\d{1,5})$/.exec(text) ?? [];
  return isIP(v6 ?? v4 ?? '') === (v6 === undefined ? 4 : 6) && Number(port) <= 65_535;
}
