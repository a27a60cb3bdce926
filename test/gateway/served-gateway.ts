import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import {
  type GatewayServerOptions,
  type RunningGateway,
  startGatewayServer,
} from '../../src/gateway/node/gateway-server.ts';
import type { GatewayServerLimits } from '../../src/gateway/node/server-limits.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { type DirectExchanges, directExchanges } from './direct-exchange.ts';
import { testGateway, type TestGatewayOptions } from './test-gateway.ts';

/** A gateway on loopback, and the server to which all its exchanges lead. */
export interface ServedGateway
  extends AsyncDisposable, Pick<ReturnType<typeof testGateway>, 'audited'> {
  readonly gateway: RunningGateway;
  readonly exchanges: DirectExchanges;
  /** The server behind the gateway. `answer` handles its requests. */
  readonly server: Server;
  answer: RequestListener;
}

export interface ServedGatewayOptions extends Partial<GatewayServerOptions> {
  readonly core?: TestGatewayOptions;
  readonly limits?: Partial<GatewayServerLimits>;
  readonly clock?: Clock;
}

/** A gateway with TLS, which asks for no client certificate. */
export async function serveTlsGateway(
  options: Omit<ServedGatewayOptions, 'tls'> = {},
): Promise<ServedGateway> {
  const certificates = await makeTestCertificates();
  const { cert, key } = certificates.server;
  const tls = { certFile: cert, keyFile: key, clientCaFile: undefined };
  const served = await serveGateway({ ...options, tls });
  const close = served[Symbol.asyncDispose].bind(served);
  return Object.assign(served, {
    async [Symbol.asyncDispose]() {
      await close();
      await certificates[Symbol.asyncDispose]();
    },
  });
}

export async function serveGateway(options: ServedGatewayOptions = {}): Promise<ServedGateway> {
  const server = createServer((request, response) => served.answer(request, response));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const exchanges = directExchanges(() => port);
  const core = testGateway(options.core);
  const gateway = await startGatewayServer(
    { listen: { host: '127.0.0.1', port: 0 }, ...options },
    {
      gateway: core.gateway,
      open: exchanges.open,
      userLimits: core.limits,
      log: silentLogger,
      limits: options.limits ?? {},
      clock: options.clock ?? systemClock,
    },
  );
  const served: ServedGateway = {
    ...{ gateway, exchanges, server, audited: core.audited },
    answer: (_request, response) => void response.end('hello'),
    async [Symbol.asyncDispose]() {
      await gateway.close();
      exchanges.close();
      server.closeAllConnections();
      server.close();
    },
  };
  return served;
}
