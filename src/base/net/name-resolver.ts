import { readFileSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { type Clock, systemClock } from '../clock.ts';
import { DnsQueries, type FamilyAnswer } from './dns-queries.ts';
import { type HostsTable, parseHostsFile } from './hosts-file.ts';
import { NameError } from './name-error.ts';
import { candidateNames, parseResolverConfig, type ResolverConfig } from './resolver-config.ts';

/** The addresses of a name. There is at least one, in `addresses` or in the result of `late`. */
export interface FoundAddresses {
  readonly addresses: readonly string[];
  /**
   * The addresses of the slow family, when one family has been found and the other has not. Never
   * rejects.
   */
  readonly late?: Promise<readonly string[]> | undefined;
}

export interface NameResolver {
  /**
   * Looks up a name. A slow name does not delay other names.
   *
   * @param signal ends the lookup, also the part that continues in `late`
   * @throws NameError, or the signal's reason
   */
  lookup(name: string, signal: AbortSignal): Promise<FoundAddresses>;
}

export interface NameResolverOptions {
  readonly clock?: Clock;
  /** Default: /etc/resolv.conf. */
  readonly resolverConfigFile?: string;
  /** Default: /etc/hosts. */
  readonly hostsFile?: string;
}

/**
 * How long the second family may take after the first one, in milliseconds (RFC 8305, section 3).
 */
const resolutionDelayMs = 50;
/** How often the files are checked for changes, in milliseconds. */
const lookEveryMs = 5_000;
/**
 * The largest number of lookups at a time. Each has a socket, so further lookups are refused before
 * the process runs out of descriptors.
 */
const maxLookups = 1_000;

const loopback: readonly string[] = ['127.0.0.1', '::1'];

/** A lookup that several dials wait for. It is cancelled when the last dial gives up. */
interface SharedLookup {
  readonly found: Promise<FoundAddresses>;
  readonly cancelled: AbortController;
  waiters: number;
}

interface Sources {
  readonly hosts: HostsTable;
  readonly config: ResolverConfig;
  readonly queries: DnsQueries;
}

/**
 * Resolves names as getaddrinfo does with `hosts: files dns`, but without its threads: first the
 * hosts file, then DNS with the search domains and `ndots` of resolv.conf. Both files are read
 * again when they change. IPv4 and IPv6 addresses are requested at the same time, regardless of the
 * addresses of this machine. Answers are not cached.
 *
 * Other sources of nsswitch.conf (mdns, LDAP) are not used. Old spellings of IPv4 addresses
 * (`127.1`, `0x7f000001`) are names, not addresses.
 */
export class SystemNameResolver implements NameResolver {
  readonly #clock: Clock;
  readonly #configFile: string;
  readonly #hostsFile: string;
  readonly #shared = new Map<string, SharedLookup>();
  #lookups = 0;
  #sources: Sources | undefined;
  #prints = '';
  #lookedAtMs = -Infinity;

  constructor(options: NameResolverOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#configFile = options.resolverConfigFile ?? '/etc/resolv.conf';
    this.#hostsFile = options.hostsFile ?? '/etc/hosts';
  }

  async lookup(name: string, signal: AbortSignal): Promise<FoundAddresses> {
    signal.throwIfAborted();
    const key = name.toLowerCase();
    const sources = this.#current();
    const bare = key.replace(/\.$/, '');
    const listed = sources.hosts.get(bare) ?? (bare === 'localhost' ? loopback : undefined);
    if (listed !== undefined) return { addresses: listed };
    const shared = this.#shared.get(key) ?? this.#start(key, sources);
    shared.waiters++;
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => {
      aborted.reject(signal.reason as Error);
      shared.waiters--;
      if (shared.waiters === 0) shared.cancelled.abort();
    };
    const forget = (): void => signal.removeEventListener('abort', onAbort);
    signal.addEventListener('abort', onAbort, { once: true });
    shared.found
      .then(
        async ({ late }) => await late,
        () => {},
      )
      .finally(forget)
      .catch(() => {});
    return await Promise.race([shared.found, aborted.promise]);
  }

  #start(key: string, sources: Sources): SharedLookup {
    if (this.#lookups >= maxLookups) {
      const message = `lookup ${key}: ${maxLookups} lookups wait for DNS servers already`;
      throw new NameError('overloaded', message);
    }
    this.#lookups++;
    const cancelled = new AbortController();
    const found = this.#ask(key, sources, cancelled.signal).finally(() => {
      this.#lookups--;
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
    });
    const shared: SharedLookup = { found, cancelled, waiters: 0 };
    found.catch(() => {});
    this.#shared.set(key, shared);
    // A cancelled lookup is removed, so that no other dial can join it.
    cancelled.signal.addEventListener('abort', () => {
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
    });
    return shared;
  }

  async #ask(key: string, sources: Sources, signal: AbortSignal): Promise<FoundAddresses> {
    const { config, queries } = sources;
    let failure: NameError | undefined;
    for (const candidate of candidateNames(key, config)) {
      signal.throwIfAborted();
      const { ipv4, ipv6 } = queries.ask(candidate, signal);
      const found = await this.#combine(ipv4, ipv6);
      if (!(found instanceof NameError)) return found;
      if (found.code === 'no_answer') failure ??= found;
      // The next candidate must not be tried, because a silent server would then decide which host
      // a name means.
      if (isTimeout(found)) break;
    }
    signal.throwIfAborted();
    const { code, message, cause } = failure ?? new NameError('not_found', 'no such host');
    throw new NameError(code, `lookup ${key}: ${message}`, { cause: cause ?? failure });
  }

  /** Waits until one family has addresses, and a little longer for the other family. */
  async #combine(
    ipv4: Promise<FamilyAnswer>,
    ipv6: Promise<FamilyAnswer>,
  ): Promise<FoundAddresses | NameError> {
    const [first, other] = await Promise.race([
      ipv4.then((answer) => [answer, ipv6] as const),
      ipv6.then((answer) => [answer, ipv4] as const),
    ]);
    if (first instanceof Error || first.length === 0) {
      const second = await other;
      if (!(second instanceof Error) && second.length > 0) return { addresses: second };
      return worse(first, second);
    }
    const late = other.then((answer) => (answer instanceof Error ? [] : answer));
    const second = await this.#within(late, resolutionDelayMs);
    return second === undefined ? { addresses: first, late } : { addresses: [...first, ...second] };
  }

  async #within<T>(promise: Promise<T>, delayMs: number): Promise<T | undefined> {
    const over = Promise.withResolvers<undefined>();
    const timer = this.#clock.setTimer(delayMs, () => over.resolve(undefined));
    const value = await Promise.race([promise, over.promise]);
    timer.cancel();
    return value;
  }

  /**
   * The contents of the files, at most a few seconds old. A missing file counts as an empty file.
   */
  #current(): Sources {
    const now = this.#clock.now();
    if (this.#sources !== undefined && now - this.#lookedAtMs < lookEveryMs) return this.#sources;
    this.#lookedAtMs = now;
    const prints = `${printOf(this.#hostsFile)} ${printOf(this.#configFile)}`;
    if (this.#sources !== undefined && prints === this.#prints) return this.#sources;
    this.#prints = prints;
    const config = parseResolverConfig(textOf(this.#configFile), hostname());
    const hosts = parseHostsFile(textOf(this.#hostsFile));
    this.#sources = { hosts, config, queries: new DnsQueries(config) };
    return this.#sources;
  }
}

/** The name resolver of the whole process. */
export const systemNames: NameResolver = new SystemNameResolver();

function worse(first: FamilyAnswer, second: FamilyAnswer): NameError {
  const errors = [first, second].filter((answer) => answer instanceof NameError);
  const serious = errors.find(isTimeout) ?? errors.find(({ code }) => code === 'no_answer');
  return serious ?? new NameError('not_found', 'no such host');
}

function isTimeout({ cause }: NameError): boolean {
  return (cause as NodeJS.ErrnoException | undefined)?.code === 'ETIMEOUT';
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/**
 * A text that changes when the file changes. Kubernetes and resolvconf replace the file; other
 * programs rewrite it.
 */
function printOf(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return 'none';
  }
}
