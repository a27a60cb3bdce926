import { type IncomingMessage, type Server, type ServerOptions, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import { GatewayError } from '../gateway-error.ts';
import { statusAnswer } from '../status-answer.ts';
import type { ClientConnection } from './client-connection.ts';
import { ForwardedRequest } from './forwarded-request.ts';
import type { GatewayContext } from './gateway-context.ts';
import { Http1Client } from './http1-client.ts';
import { Http1Upgrade } from './http1-upgrade.ts';
import type { GatewayServerLimits } from './server-limits.ts';

export interface Http1ServerParts {
  readonly context: GatewayContext;
  readonly limits: GatewayServerLimits;
  /** True: connections end with their current answer. */
  readonly isClosing: () => boolean;
  readonly connectionOf: (socket: Socket) => ClientConnection;
}

/** Protocols that a client may ask for by `Upgrade`, in lower case. */
const protocols: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);

/** Options for createServer of node:http and node:https. */
export function http1Options({ headTimeoutMs, maxHeadBytes }: GatewayServerLimits): ServerOptions {
  return {
    connectionsCheckingInterval: 1_000,
    headersTimeout: headTimeoutMs,
    insecureHTTPParser: false,
    // In Node, 0 means no timeout.
    keepAliveTimeout: 0,
    requestTimeout: 0,
    maxHeaderSize: maxHeadBytes,
    noDelay: true,
    // `problemOf` answers with a Status.
    requireHostHeader: false,
    // A server may ignore an upgrade (RFC 9110, section 7.8). `curl --http2` offers h2c.
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() !== 'h2c',
  };
}

/** Serves the requests of a server for HTTP/1.1. */
export function serveHttp1(server: Server, parts: Http1ServerParts): void {
  server.maxHeadersCount = 0;
  const onRequest = (message: IncomingMessage, response: ServerResponse): void => {
    const connection = parts.connectionOf(message.socket);
    connection.inTurn(() => startRequest(message, response, connection, parts));
  };
  server.on('request', onRequest);
  // The server behind the agent decides whether it wants the body.
  server.on('checkContinue', onRequest);
  server.on('upgrade', (message, socket, head) => {
    if (socket instanceof Socket) startUpgrade(message, socket, head, parts);
    else socket.destroy();
  });
  server.on('connect', (message, socket) => {
    if (socket instanceof Socket) refuseConnect(message, socket);
    else socket.destroy();
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    refuseMalformed(error, socket as Socket);
  });
}

function startRequest(
  message: IncomingMessage,
  response: ServerResponse,
  connection: ClientConnection,
  { context, isClosing }: Http1ServerParts,
): void {
  connection.started();
  const request = incoming(message, connection);
  const forwarded = new ForwardedRequest(context, request, connection);
  response.on('close', () => connection.ended());
  const client = new Http1Client(message, response, forwarded);
  const problem = problemOf(message);
  if (problem !== undefined || isClosing()) {
    response.shouldKeepAlive = false;
    connection.acceptNoMore();
  }
  if (problem === undefined) forwarded.start(client);
  else forwarded.refuse(client, problem);
}

function startUpgrade(
  message: IncomingMessage,
  socket: Socket,
  head: Buffer,
  { context, connectionOf }: Http1ServerParts,
): void {
  const connection = connectionOf(socket);
  connection.started();
  socket.on('close', () => connection.ended());
  const request = incoming(message, connection);
  const forwarded = new ForwardedRequest(context, request, connection);
  const { clock } = context;
  const client = new Http1Upgrade({ message, socket, head, clock, events: forwarded });
  const problem = problemOf(message) ?? upgradeProblem(message);
  if (problem === undefined) forwarded.start(client);
  else forwarded.refuse(client, problem);
}

function incoming(message: IncomingMessage, connection: ClientConnection) {
  const { method = '', url = '', rawHeaders, headers } = message;
  const list: [string, string][] = [];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    list.push([rawHeaders[at]!, rawHeaders[at + 1]!]);
  }
  return {
    method,
    target: url,
    headers: list,
    client: connection.client(headers.host),
    hasBody:
      headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0',
    certificate: connection.certificate,
  };
}

/** Parts of a request that Node accepts, and that servers read differently. */
function problemOf({
  headers,
  httpVersion,
  rawHeaders,
}: IncomingMessage): GatewayError | undefined {
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return clientError('the Transfer-Encoding must be chunked');
  }
  if (coding !== undefined && httpVersion === '1.0') {
    return clientError('HTTP/1.0 has no Transfer-Encoding');
  }
  const hosts = count(rawHeaders, 'host');
  // Health checks of load balancers use HTTP/1.0 without a Host header.
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) {
    return clientError(`the request has ${hosts} Host headers, it needs one`);
  }
  if (httpVersion === '1.1' || httpVersion === '1.0') return undefined;
  return clientError(`HTTP/${httpVersion} is not served here, use HTTP/1.1`);
}

function upgradeProblem({ headers }: IncomingMessage): GatewayError | undefined {
  if (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0') {
    return clientError('a request to change the protocol has no body');
  }
  if (protocols.has(headers.upgrade?.toLowerCase() ?? '')) return undefined;
  return clientError('the protocol to upgrade to is not known; websocket and SPDY/3.1 are');
}

function count(rawHeaders: HeaderList[number] | readonly string[], wanted: string): number {
  let found = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === wanted.length && name.toLowerCase() === wanted) found++;
  }
  return found;
}

function clientError(sentence: string): GatewayError {
  return new GatewayError('BadRequest', sentence, { hop: 'client' });
}

function refuseConnect(message: IncomingMessage, socket: Socket): void {
  socket.on('error', () => socket.destroy());
  const response = new ServerResponse(message);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  sendAndClose(socket, new GatewayError('MethodNotAllowed', 'the method CONNECT is not served'));
}

/** Answers bytes that are no request, and closes. */
function refuseMalformed({ code = '' }: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  socket.on('error', () => socket.destroy());
  if (code === 'HPE_HEADER_OVERFLOW') {
    const sentence = 'the head of the request is too long';
    sendAndClose(
      socket,
      new GatewayError('RequestHeaderFieldsTooLarge', sentence, { hop: 'client' }),
    );
  } else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    socket.destroy();
  } else {
    sendAndClose(socket, clientError('the request is not valid HTTP/1.1'));
  }
}

function sendAndClose(socket: Socket, error: GatewayError): void {
  const { head, body } = statusAnswer(error);
  const lines = head.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`HTTP/1.1 ${head.status} ${error.reason}\r\nConnection: close\r\n${lines}\r\n`);
  socket.write(body);
  socket.destroySoon();
}
