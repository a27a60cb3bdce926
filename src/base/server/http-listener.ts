import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Logger } from '../log/logger.ts';
import type { HostPort } from '../net/host-port.ts';
import type { ConnectionGuard } from './connection-guard.ts';
import type { ConnectionLimits } from './connection-limits.ts';
import { guardedServerOptions, guardHttpServer, type HttpHandler } from './guarded-http.ts';
import { listenAt } from './listen.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** A certificate that may change while its listener is open. */
export interface ListenerTls {
  /**
   * With `ca`, the listener requests a client certificate. It accepts every certificate, and the
   * handler decides whether the certificate is valid.
   */
  readonly value: SecureContextOptions;
  onChange(listener: (changed: SecureContextOptions) => void): void;
}

export interface HttpListenerOptions {
  /** Names the listener in logs. */
  readonly name: string;
  readonly address: HostPort;
  /** Undefined for plain HTTP. */
  readonly tls?: ListenerTls | undefined;
  /**
   * The limits and timeouts of this listener only. Different kinds of traffic can have different
   * listeners.
   */
  readonly limits: ConnectionLimits;
  /** Proxies whose connections are not limited per address. */
  readonly trustedProxies?: TrustedProxies | undefined;
  readonly handler: HttpHandler;
  readonly log: Logger;
}

/** Serves HTTP/1.1 on connections that another listener has accepted. */
export interface HttpAcceptor extends AsyncDisposable {
  /** Serves a connection of which nothing has been read, after its TLS handshake. */
  accept(socket: Socket): void;
  readonly connections: ConnectionGuard;
  /** Closes all connections that were not upgraded. Idempotent. */
  close(): Promise<void>;
}

export interface HttpListener extends AsyncDisposable {
  /** The address of the listener. The port is never 0. */
  readonly address: HostPort;
  readonly connections: ConnectionGuard;
  /** Closes the listener and all connections that were not upgraded. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves HTTP/1.1 at an address, within its own limits.
 *
 * @throws Error the address is in use
 */
export async function openHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const { name, address, tls, limits, trustedProxies, handler, log } = options;
  const server = makeServer(tls, limits.requestTimeoutMs);
  const connections = guardHttpServer(server, {
    ...handler,
    ...{ limits, listener: name, trustedProxies, log },
  });
  try {
    await listenAt(server, address, log);
  } catch (thrown) {
    connections[Symbol.dispose]();
    throw thrown;
  }
  const { address: host, port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    await closeServer(server);
    connections[Symbol.dispose]();
  };
  return { address: { host, port }, connections, close, [Symbol.asyncDispose]: close };
}

/** Serves HTTP/1.1 on connections of another listener, within limits of its own. */
export function makeHttpAcceptor(
  options: Omit<HttpListenerOptions, 'address' | 'tls'>,
): HttpAcceptor {
  const { name, handler, ...parts } = options;
  const server = createHttpServer(guardedServerOptions);
  const connections = guardHttpServer(server, { ...handler, ...parts, listener: name });
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    connections[Symbol.dispose]();
  };
  return {
    accept: (socket) => void server.emit('connection', socket),
    connections,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function makeServer(tls: ListenerTls | undefined, handshakeTimeoutMs: number): Server {
  if (tls === undefined) return createHttpServer(guardedServerOptions);
  const server = createHttpsServer({
    ...guardedServerOptions,
    ...tls.value,
    requestCert: tls.value.ca !== undefined,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  });
  // Established connections keep the certificate of their handshake.
  tls.onChange((changed) => server.setSecureContext(changed));
  return server;
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  await promise;
}
