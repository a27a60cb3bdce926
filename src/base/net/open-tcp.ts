import type { Socket } from 'node:net';
import { describeError } from '../error.ts';
import type { HostPort } from './host-port.ts';
import { type Attempt, keepSocket } from './attempt.ts';
import { connectTcp } from './connect-tcp.ts';
import { NameError } from './name-error.ts';
import { RouteError } from './route-error.ts';

/**
 * Connects to a host over TCP, as one step of an attempt.
 *
 * @param what names the host in messages: `the proxy p.example:3128`
 * @throws RouteError `dns`, `connect`; or the signal's reason
 */
export async function openTcp(to: HostPort, what: string, attempt: Attempt): Promise<Socket> {
  const { signal, progress } = attempt;
  progress.step = `connecting to ${what}`;
  try {
    const socket = await connectTcp(to, { signal });
    keepSocket(socket, attempt);
    return socket;
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof NameError) throw nameNotFound(what, cause);
    const message = `${what} cannot be reached (${describeError(cause)}); check the address, and firewalls on the way`;
    throw new RouteError('connect', message, { cause });
  }
}

/** The error of a failed lookup. */
export function nameNotFound(what: string, cause: unknown): RouteError {
  const message = `the name of ${what} was not found (${describeError(cause)}); check the URL and this machine's DNS`;
  return new RouteError('dns', message, { cause });
}
