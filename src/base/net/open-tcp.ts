import { connect, type Socket } from 'node:net';
import { describeError } from '../error.ts';
import type { HostPort } from '../options-values.ts';
import { type Attempt, keepSocket } from './attempt.ts';
import { codeOf, RouteError } from './route-error.ts';
import { untilSocket } from './until-socket.ts';

/**
 * Connects to a host over TCP.
 *
 * @param what names the host in messages: `the proxy p.example:3128`
 * @throws RouteError `dns`, `connect`; or the signal's reason
 */
export async function openTcp(to: HostPort, what: string, attempt: Attempt): Promise<Socket> {
  const { signal, progress } = attempt;
  progress.step = `connecting to ${what}`;
  const socket = connect({ host: to.host, port: to.port, noDelay: true });
  keepSocket(socket, attempt);
  try {
    await untilSocket<void>(socket, signal, (resolve) => {
      socket.on('connect', resolve);
      return () => socket.off('connect', resolve);
    });
  } catch (cause) {
    signal.throwIfAborted();
    // Where several addresses were tried, the errors are inside and the outer one says nothing.
    const why = describeError(cause instanceof AggregateError ? cause.errors[0] : cause);
    if (isLookupError(cause)) throw nameNotFound(what, cause);
    const message = `${what} cannot be reached (${why}); check the address, and firewalls on the way`;
    throw new RouteError('connect', message, { cause });
  }
  return socket;
}

function isLookupError(thrown: unknown): boolean {
  return ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NONAME'].includes(codeOf(thrown));
}

/** The error of a failed lookup. */
export function nameNotFound(what: string, cause: unknown): RouteError {
  const message = `the name of ${what} was not found (${describeError(cause)}); check the URL and this machine's DNS`;
  return new RouteError('dns', message, { cause });
}
