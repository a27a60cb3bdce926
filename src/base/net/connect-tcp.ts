import { connect, isIP, type Socket } from 'node:net';
import { type Clock, systemClock } from '../clock.ts';
import { describeError } from '../error.ts';
import { formatHostPort, type HostPort } from './host-port.ts';
import { type ConnectAttempt, ConnectError, connectFirst } from './connect-first.ts';
import { keepAlive } from './keep-alive.ts';
import { type FoundAddresses, type NameResolver, systemNames } from './name-resolver.ts';

export interface ConnectTcpOptions {
  readonly signal?: AbortSignal;
  /** How long the connection may take, in milliseconds (default: until the signal aborts). */
  readonly timeoutMs?: number;
  /** The only family of addresses to use (default: both). */
  readonly family?: 4 | 6;
  readonly names?: NameResolver;
  readonly clock?: Clock;
}

// The reason is created once, because an abort without a reason creates an error with a stack each
// time.
const over = new Error('the connection attempt is over');

/**
 * Opens a TCP connection to a name or an address, with keepalive and without Nagle's delay. A slow
 * name delays no other connection. Of several addresses, the first one that answers is used.
 *
 * @throws NameError; ConnectError names each address that was tried; or the signal's reason
 */
export async function connectTcp(
  { host, port }: HostPort,
  options: ConnectTcpOptions = {},
): Promise<Socket> {
  const { signal, timeoutMs, clock = systemClock } = options;
  signal?.throwIfAborted();
  // Aborts when the function ends, so that no listener remains on the caller's signal, which may
  // live longer.
  const connecting = new AbortController();
  const attempts: ConnectAttempt[] = [];
  const onAbort = (): void => connecting.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : clock.setTimer(timeoutMs, () => connecting.abort(new ConnectError('it took too long')));
  try {
    const found = await addressesOf(host, options, connecting.signal);
    const { socket } = await connectFirst(found, {
      connect: (address) => connect({ host: address, port, noDelay: true }),
      clock,
      signal: connecting.signal,
      withinMs: timeoutMs ?? Infinity,
      attempts,
    });
    keepAlive(socket);
    return socket;
  } catch (thrown) {
    if (!(thrown instanceof ConnectError)) throw thrown;
    throw new ConnectError(describeAttempts(port, attempts) ?? thrown.message, {
      cause: attempts.find(({ error }) => error !== undefined)?.error,
    });
  } finally {
    timer?.cancel();
    signal?.removeEventListener('abort', onAbort);
    connecting.abort(over);
  }
}

async function addressesOf(
  host: string,
  { names = systemNames, family }: ConnectTcpOptions,
  signal: AbortSignal,
): Promise<FoundAddresses> {
  if (isIP(host) !== 0) return { addresses: [host] };
  const { addresses, late } = await names.lookup(host, signal);
  if (family === undefined) return { addresses, late };
  const wanted = (all: readonly string[]) => all.filter((address) => isIP(address) === family);
  return { addresses: wanted(addresses), late: late?.then(wanted) };
}

function describeAttempts(port: number, attempts: readonly ConnectAttempt[]): string | undefined {
  if (attempts.length === 0) return undefined;
  return attempts
    .map(({ address, error }) => {
      if (error !== undefined) return describeError(error);
      return `connect to ${formatHostPort({ host: address, port })}: no answer`;
    })
    .join('; ');
}
