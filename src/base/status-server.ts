import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describeError } from './error.ts';
import type { Logger } from './logger.ts';
import { formatHostPort, type HostPort } from './options-values.ts';

/** What probes and scrapers ask of a program. */
export interface StatusSource {
  /** What keeps the program from being ready, as a sentence; undefined: nothing. */
  unready(this: void): string | undefined;
  /** Left out: there is no /metrics. */
  metrics?(this: void): Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface StatusServer extends AsyncDisposable {
  /** `host:port` */
  readonly address: string;
  /** Idempotent. */
  close(): Promise<void>;
}

const requestTimeoutMs = 5_000;

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
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    answer(source, request.url ?? '/', response).catch((thrown: unknown) => {
      log.error('status request failed', { why: describeError(thrown) });
      response.destroy();
    });
  });
  server.headersTimeout = requestTimeoutMs;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(listen.port, listen.host, resolve);
  await promise;
  server.removeListener('error', reject);
  const { address: host, port } = server.address() as AddressInfo;
  const address = formatHostPort({ host, port });
  log.info('status listens', { address });
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    server.closeAllConnections();
    await closed.promise;
  };
  return { address, close, [Symbol.asyncDispose]: close };
}

async function answer(source: StatusSource, target: string, response: ServerResponse) {
  const [path] = target.split('?', 1);
  switch (path) {
    case '/healthz':
      return say(response, 200, 'ok');
    // The name that konnectivity's servers have for it as well.
    case '/ready':
    case '/readyz': {
      const why = source.unready();
      return why === undefined ? say(response, 200, 'ok') : say(response, 503, why);
    }
    case '/metrics': {
      if (source.metrics === undefined) return say(response, 404, 'not found');
      const { contentType, text } = await source.metrics();
      return say(response, 200, text, contentType);
    }
    default:
      return say(response, 404, 'not found');
  }
}

function say(response: ServerResponse, status: number, text: string, type = 'text/plain'): void {
  response.writeHead(status, { 'Content-Type': type });
  response.end(text.endsWith('\n') ? text : `${text}\n`);
}
