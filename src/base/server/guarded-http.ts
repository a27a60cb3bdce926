import type { IncomingMessage, RequestListener, Server, ServerOptions } from 'node:http';
import { Socket } from 'node:net';
import { ConnectionGuard, type ConnectionGuardParts } from './connection-guard.ts';
import { headLimits, requestProblem, type RequestProblem } from './http-request-problem.ts';

/** Requests on one connection, after which it is closed. */
const maxRequestsPerConnection = 1_000;

const checkConnectionsMs = 1_000;
/** An idle connection is closed in order after this, in milliseconds, before its guard gives it up. */
const idleTimeoutMs = 5_000;

/** For createServer of node:http and node:https. */
export const guardedServerOptions: ServerOptions = {
  connectionsCheckingInterval: checkConnectionsMs,
  maxHeaderSize: headLimits.maxHeadBytes,
  noDelay: true,
};

/** A request to change the protocol. Its socket has a listener for errors. */
export interface UpgradeRequest {
  readonly message: IncomingMessage;
  readonly socket: Socket;
  readonly head: Buffer;
  /** Call it when the client has shown a credential that counts: the limits for strangers end. */
  authenticated(): void;
}

/** What a listener does with requests. */
export interface HttpHandler {
  /** Whether requests may have a body (default: no). An upgrade request never has one. */
  readonly acceptsBodies?: boolean;
  readonly onRequest: RequestListener;
  /** Undefined: nothing can be upgraded here, and a request for it is answered like any other. */
  readonly onUpgrade?: (request: UpgradeRequest, problem: RequestProblem | undefined) => void;
}

export type GuardedHttpParts = ConnectionGuardParts & HttpHandler;

/**
 * Serves requests within the limits of a `ConnectionGuard`: one request at a time on a connection, and only ones that every proxy on the
 * way reads like this server.
 */
export function guardHttpServer(server: Server, parts: GuardedHttpParts): ConnectionGuard {
  const { limits, acceptsBodies, onRequest, onUpgrade } = parts;
  const guard = new ConnectionGuard(server, parts);
  server.headersTimeout = limits.requestTimeoutMs;
  const { bodyTimeoutMs = limits.requestTimeoutMs } = limits;
  // Node takes 0 for no timeout.
  server.requestTimeout = bodyTimeoutMs === Infinity ? 0 : bodyTimeoutMs;
  server.keepAliveTimeout = Math.min(idleTimeoutMs, limits.requestTimeoutMs);
  server.maxRequestsPerSocket = maxRequestsPerConnection;
  // One more than allowed, so that too many are seen instead of cut.
  server.maxHeadersCount = headLimits.maxHeaders + 1;
  server.on('request', (message, response) => {
    const { socket } = message;
    guard.begin(socket, () => {
      response.once('close', () => guard.end(socket));
      const problem = requestProblem(message, acceptsBodies);
      if (problem === undefined) {
        onRequest(message, response);
        return;
      }
      response.writeHead(problem.status, {
        'Content-Type': 'application/json',
        Connection: 'close',
      });
      response.end(JSON.stringify({ code: 'protocol_error', message: problem.message }));
    });
  });
  if (onUpgrade !== undefined) {
    server.on('upgrade', (message, socket, head) => {
      if (!(socket instanceof Socket)) {
        socket.destroy();
        return;
      }
      socket.on('error', destroySocket);
      const authenticated = (): void => guard.authenticated(socket);
      guard.begin(socket, () =>
        onUpgrade({ message, socket, head, authenticated }, requestProblem(message)),
      );
    });
  }
  return guard;
}

function destroySocket(this: Socket): void {
  this.destroy();
}
