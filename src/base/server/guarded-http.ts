import type {
  IncomingMessage,
  RequestListener,
  Server,
  ServerOptions,
  ServerResponse,
} from 'node:http';
import { Socket } from 'node:net';
import { ConnectionGuard, type ConnectionGuardParts } from './connection-guard.ts';
import { headLimits, requestProblem, type RequestProblem } from './http-request-problem.ts';

/** The largest number of requests on one connection, which is then closed. */
const maxRequestsPerConnection = 1_000;

const checkConnectionsMs = 1_000;
/**
 * An idle connection is closed in order after this time, in milliseconds, before its guard closes
 * it.
 */
const idleTimeoutMs = 5_000;

/** How long the body of a refused request is read, in milliseconds. */
const lingerMs = 2_000;

/** Options for createServer of node:http and node:https. */
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
  /**
   * Call it when the client has shown a valid credential. The limits for unauthenticated clients no
   * longer apply.
   */
  authenticated(): void;
}

/** Handles the requests of a listener. */
export interface HttpHandler {
  /** Whether requests may have a body (default: no). An upgrade request never has one. */
  readonly acceptsBodies?: boolean;
  readonly onRequest: RequestListener;
  /**
   * Undefined when the listener supports no upgrade. An upgrade request is then answered like any
   * other request.
   */
  readonly onUpgrade?: (request: UpgradeRequest, problem: RequestProblem | undefined) => void;
}

export type GuardedHttpParts = ConnectionGuardParts & HttpHandler;

/**
 * Serves requests within the limits of a `ConnectionGuard`. A connection has one request at a time.
 * Requests that a proxy on the way could read differently are refused.
 */
export function guardHttpServer(server: Server, parts: GuardedHttpParts): ConnectionGuard {
  const { limits, acceptsBodies, onRequest, onUpgrade } = parts;
  const guard = new ConnectionGuard(server, parts);
  server.headersTimeout = limits.requestTimeoutMs;
  const { bodyTimeoutMs = limits.requestTimeoutMs } = limits;
  // In Node, 0 means no timeout.
  server.requestTimeout = bodyTimeoutMs === Infinity ? 0 : bodyTimeoutMs;
  server.keepAliveTimeout = Math.min(idleTimeoutMs, limits.requestTimeoutMs);
  server.maxRequestsPerSocket = maxRequestsPerConnection;
  // Node silently drops headers beyond this number. One more than allowed shows that there are too
  // many.
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
      refuse(message, response, problem);
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

/**
 * Answers with the problem. Unread bytes would make the kernel reset the connection, and a client
 * that sends its body before it reads would lose the answer. So the body is read to its end, or
 * until the time is over.
 */
function refuse(message: IncomingMessage, response: ServerResponse, problem: RequestProblem): void {
  const body = JSON.stringify({ code: 'protocol_error', message: problem.message });
  response.writeHead(problem.status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    Connection: 'close',
  });
  // The answer leaves at once, because Node may find an error behind the head in this turn.
  message.socket.cork();
  response.write(body);
  message.socket.uncork();
  const timer = setTimeout(() => response.end(), lingerMs);
  message.once('close', () => {
    clearTimeout(timer);
    response.end();
  });
  message.resume();
}

function destroySocket(this: Socket): void {
  this.destroy();
}
