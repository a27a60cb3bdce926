import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import { acceptWebSocket, type AcceptOptions } from '../../src/websocket/accept.ts';
import type { WebSocketLink } from '../../src/websocket/websocket-link.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';

export const certificates: TestCertificates = await makeTestCertificates();
export const serverCa = readFileSync(certificates.server.ca, 'utf8');
export const serverTls = {
  cert: readFileSync(certificates.server.cert),
  key: readFileSync(certificates.server.key),
};

/** A server on a free loopback port, whose connections end with the scope. */
export interface Listening<S> extends AsyncDisposable {
  readonly server: S;
  readonly port: number;
  /** Every connection made to it so far. */
  readonly sockets: readonly Socket[];
}

export async function listen<S extends NetServer>(server: S): Promise<Listening<S>> {
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    server,
    port: (server.address() as AddressInfo).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface LinkServer extends Listening<Server> {
  readonly url: URL;
  /** The next link that is accepted. */
  accepted(): Promise<WebSocketLink>;
  /** The latest upgrade request. */
  readonly request: IncomingMessage | undefined;
}

/** A server that accepts every upgrade. */
export async function linkServer(
  scheme: 'ws' | 'wss',
  options: AcceptOptions = {},
): Promise<LinkServer> {
  const server = scheme === 'wss' ? createTlsServer(serverTls) : createServer();
  const links: WebSocketLink[] = [];
  const waiting: ((link: WebSocketLink) => void)[] = [];
  let request: IncomingMessage | undefined;
  server.on('upgrade', (message, socket, head) => {
    request = message;
    const link = acceptWebSocket(message, socket, head, options);
    if (link === undefined) return;
    const next = waiting.shift();
    if (next === undefined) links.push(link);
    else next(link);
  });
  const listening = await listen(server);
  return {
    ...listening,
    url: new URL(`${scheme}://localhost:${listening.port}/v1/agent?x=1`),
    accepted: () =>
      new Promise((resolve) => {
        const link = links.shift();
        if (link === undefined) waiting.push(resolve);
        else resolve(link);
      }),
    get request() {
      return request;
    },
  };
}
