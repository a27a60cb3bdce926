import type { ServerResponse } from 'node:http';
import type { ConnectionLimits } from './connection-limits.ts';
import { describeError } from '../error.ts';
import { openHttpListener } from './http-listener.ts';
import type { Logger } from '../log/logger.ts';
import { connectionShare } from './open-file-limit.ts';
import { formatHostPort, type HostPort } from '../net/host-port.ts';

/** What probes and scrapers ask of a program. */
export interface StatusSource {
  /** What keeps the program from being ready, as a sentence; undefined: nothing. */
  unready(this: void): string | undefined;
  /** What a ready program does worse than usual, as a sentence; undefined: nothing. */
  degraded?(this: void): string | undefined;
  /** Left out: there is no /metrics. */
  metrics?(this: void): Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface StatusServer extends AsyncDisposable {
  /** `host:port` */
  readonly address: string;
  /** Idempotent. */
  close(): Promise<void>;
}

/**
 * Bounds on the clients of a status server: a kubelet, a scraper and people. The longest waiting client makes room for the next, so
 * nobody can keep a probe out.
 */
function statusLimits(): ConnectionLimits {
  const maxConnections = Math.min(128, connectionShare(1 / 4));
  const maxUnauthenticated = Math.ceil(maxConnections / 4);
  return {
    // Most of them are for those that come in one moment: a probe among them is answered before the others are closed.
    maxConnections,
    maxUnauthenticated,
    maxUnauthenticatedPerAddress: maxUnauthenticated,
    requestTimeoutMs: 5_000,
    answerTimeoutMs: 5_000,
  };
}

/**
 * Serves /healthz, /readyz (or /ready) and /metrics over plain HTTP: apart from where strangers connect, so that probes need no certificate.
 *
 * @throws Error the address is taken
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
    // The name that konnectivity's servers have for it as well.
    case '/ready':
    case '/readyz': {
      const problem = source.unready();
      if (problem !== undefined) return respond(response, 503, problem);
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
