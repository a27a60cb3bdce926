import { promises as dns } from 'node:dns';
import { NameError } from './name-error.ts';
import type { ResolverConfig } from './resolver-config.ts';

/** The addresses of one family that a name has, or the reason why it has none. */
export type FamilyAnswer = readonly string[] | NameError;

/** The questions for both families of one name. */
export interface AddressQuestions {
  readonly ipv4: Promise<FamilyAnswer>;
  readonly ipv6: Promise<FamilyAnswer>;
}

const idleResolvers = 16;
const notFoundCodes = new Set(['ENOTFOUND', 'ENODATA', 'EBADNAME', 'EBADQUERY']);

/**
 * Asks DNS servers through c-ares, which uses sockets on the event loop. getaddrinfo would occupy
 * one of the few threads for the whole lookup, so some slow names would delay all other lookups and
 * file operations.
 *
 * Each name has its own `Resolver` during its lookup, with a random source port, so that a lookup
 * can be cancelled alone. Resolvers are reused.
 */
export class DnsQueries {
  readonly #config: ResolverConfig;
  readonly #idle: dns.Resolver[] = [];
  #asked = 0;

  constructor(config: ResolverConfig) {
    this.#config = config;
  }

  /** The promises never reject. After an abort, ignore their answers. */
  ask(name: string, signal: AbortSignal): AddressQuestions {
    const resolver = this.#idle.pop() ?? this.#makeResolver();
    const cancel = (): void => resolver.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    const ipv4 = answerOf(resolver.resolve4(name), name);
    const ipv6 = answerOf(resolver.resolve6(name), name);
    void this.#keepAfter([ipv4, ipv6], resolver, () => signal.removeEventListener('abort', cancel));
    if (signal.aborted) cancel();
    return { ipv4, ipv6 };
  }

  async #keepAfter(
    answers: readonly Promise<FamilyAnswer>[],
    resolver: dns.Resolver,
    release: () => void,
  ): Promise<void> {
    await Promise.all(answers);
    release();
    if (this.#idle.length < idleResolvers) this.#idle.push(resolver);
  }

  #makeResolver(): dns.Resolver {
    const { servers, timeoutMs, attempts, rotate } = this.#config;
    const resolver = new dns.Resolver({ timeout: timeoutMs, tries: attempts });
    const first = rotate ? this.#asked++ % Math.max(1, servers.length) : 0;
    // Without a list of servers, c-ares uses the servers of the system.
    if (servers.length > 0)
      resolver.setServers([...servers.slice(first), ...servers.slice(0, first)]);
    return resolver;
  }
}

async function answerOf(asked: Promise<string[]>, name: string): Promise<FamilyAnswer> {
  try {
    return await asked;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (notFoundCodes.has(code)) return new NameError('not_found', `no such host`, { cause });
    const reason = code === 'ETIMEOUT' ? 'did not answer' : `answered ${code}`;
    return new NameError('no_answer', `the DNS server ${reason} for ${name}`, { cause });
  }
}
