import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from '../base/metrics.ts';
import { formatHostPort, type HostPort } from '../base/options-values.ts';

/** A request must be there within this, in milliseconds. */
const requestTimeoutMs = 8_000;

export interface MetricsServer extends AsyncDisposable {
  readonly url: string;
}

/**
 * Answers `GET /metrics`, for programs that listen for nothing else over HTTP.
 *
 * @throws Error the address is taken
 */
export async function startMetricsServer(
  metrics: Metrics,
  { host, port }: HostPort,
): Promise<MetricsServer> {
  const server = createServer({ connectionsCheckingInterval: 1_000 }, (request, response) => {
    const isAsked = request.method === 'GET' && request.url?.split('?')[0] === '/metrics';
    const answer = async (): Promise<void> => {
      if (!isAsked) {
        response.writeHead(404).end('GET /metrics is all there is here\n');
        return;
      }
      const { contentType, text } = await metrics.render();
      response.writeHead(200, { 'Content-Type': contentType }).end(text);
    };
    answer().catch((thrown: unknown) => response.destroy(thrown as Error));
  });
  server.headersTimeout = requestTimeoutMs;
  server.requestTimeout = requestTimeoutMs;
  server.listen(port, host);
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${formatHostPort({ host, port: bound })}/metrics`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
