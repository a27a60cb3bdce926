import type { ServerResponse } from 'node:http';
import type { ConnectionLimits } from './connection-limits.ts';
import { describeError } from '../error.ts';
import { openHttpListener } from './http-listener.ts';
import type { Logger } from '../log/logger.ts';
import { connectionShare } from './open-file-limit.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';

/** The state of a program, for probes and scrapers. */
export interface StatusSource {
  /** The reason why the program is not ready, as a sentence. Undefined when it is ready. */
  unready(this: void): string | undefined;
  /** The status of an answer that says so (default 503). */
  readonly unreadyStatus?: number;
  /**
   * The reason why a ready program is degraded, as a sentence. Undefined when it is not degraded.
   */
  degraded?(this: void): string | undefined;
  /** The metrics. If it is left out, /metrics does not exist. */
  metrics?(this: void): Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface StatusServer extends AsyncDisposable {
  /** `host:port` */
  readonly address: string;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * Limits on the clients of a status server: a kubelet, a scraper and people. A new client replaces
 * the client that has waited longest, so that a probe can always connect.
 */
function statusLimits(): ConnectionLimits {
  const maxConnections = Math.min(128, connectionShare(1 / 4));
  const maxUnauthenticated = Math.ceil(maxConnections / 4);
  return {
    // Most of the connections are for a burst of clients at one moment. A probe among them is
    // answered before the others are closed.
    maxConnections,
    maxUnauthenticated,
    maxUnauthenticatedPerAddress: maxUnauthenticated,
    requestTimeoutMs: 5_000,
    answerTimeoutMs: 5_000,
  };
}

/**
 * Serves /healthz, /readyz (or /ready) and /metrics over plain HTTP. The listener is separate from
 * the listener for agents and clients, so that probes need no certificate.
 *
 * @throws Error the address is in use
 */
export async function startStatusServer(
  listen: HostPort,
  source: StatusSource,
  log: Logger,
): Promise<StatusServer> {
  const listener = await openHttpListener({
    name: 'status',
    address: listen,
    limits: statusLimits(),
    log,
    handler: {
      onRequest: (request, response) => {
        answer(source, request.url ?? '/', response).catch((thrown: unknown) => {
          log.error('status request failed', { error: describeError(thrown) });
          response.destroy();
        });
      },
    },
  });
  const address = formatHostPort(listener.address);
  log.info('status listens', { address });
  const close = (): Promise<void> => listener.close();
  return { address, close, [Symbol.asyncDispose]: close };
}

async function answer(source: StatusSource, target: string, response: ServerResponse) {
  const [path] = target.split('?', 1);
  switch (path) {
    case '/healthz':
      return respond(response, 200, 'ok');
    // Konnectivity's servers use this name too.
    case '/ready':
    case '/readyz': {
      const problem = source.unready();
      if (problem !== undefined) return respond(response, source.unreadyStatus ?? 503, problem);
      const degraded = source.degraded?.();
      return respond(
        response,
        200,
        degraded === undefined ? 'ok' : `ok, but degraded: ${degraded}`,
      );
    }
    case '/metrics': {
      if (source.metrics === undefined) return respond(response, 404, 'not found');
      const { contentType, text } = await source.metrics();
      return respond(response, 200, text, contentType);
    }
    default:
      return respond(response, 404, 'not found');
  }
}

function respond(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain',
): void {
  response.writeHead(status, { 'Content-Type': type });
  response.end(text.endsWith('\n') ? text : `${text}\n`);
}
