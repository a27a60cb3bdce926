import type { Socket } from 'node:net';
import { describeError } from '../error.ts';
import { formatHostPort, type HostPort } from './host-port.ts';
import type { Proxy } from './proxy.ts';
import { readAnswer, retryAfterMs } from './http-answer.ts';
import { challengeAdvice } from './proxy-challenge.ts';
import { RouteError } from './route-error.ts';

/**
 * Asks an HTTP proxy to connect to `destination` (RFC 9110, section 9.3.6).
 *
 * @throws RouteError `proxy`; or the signal's reason
 */
export async function askToConnect(
  socket: Socket,
  proxy: Proxy,
  destination: HostPort,
  { what, userAgent, signal }: { what: string; userAgent: string; signal: AbortSignal },
): Promise<void> {
  const authority = formatHostPort(destination);
  const { credentials } = proxy;
  const lines = [
    `CONNECT ${authority} HTTP/1.1`,
    `Host: ${authority}`,
    `User-Agent: ${userAgent}`,
    ...(credentials === undefined ? [] : [`Proxy-Authorization: ${basic(credentials)}`]),
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  const answer = await readAnswer(socket, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    const message = `${what} gave no proper answer to CONNECT ${authority} (${describeError(cause)}); is it an HTTP proxy?`;
    throw new RouteError('proxy', message, { cause });
  });
  const { status, headers } = answer;
  if (status < 200 || status > 299) {
    const advice =
      status === 407 || status === 401
        ? challengeAdvice(headers.get('proxy-authenticate'), credentials !== undefined)
        : `check that it allows CONNECT to port ${destination.port}`;
    const message = `${what} answered ${status} to CONNECT ${authority}; ${advice}`;
    throw new RouteError('proxy', message, { status, retryAfterMs: retryAfterMs(answer) });
  }
  // No byte may follow the answer, because the server behind the tunnel waits for the client's
  // first bytes.
  if (answer.rest.length > 0) {
    throw new RouteError('proxy', `${what} sent more than its answer to CONNECT ${authority}`);
  }
}

/** RFC 7617. */
function basic({ user, password }: NonNullable<Proxy['credentials']>): string {
  return `Basic ${Buffer.from(`${user}:${password.reveal()}`).toString('base64')}`;
}
