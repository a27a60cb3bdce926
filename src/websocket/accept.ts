import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { formatPeer } from '../base/net/format-peer.ts';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { acceptKey, culvertProtocol, hasToken, isHandshakeKey } from './handshake-key.ts';
import type { KeepAliveOptions } from './keep-alive.ts';
import { SocketInput } from '../base/net/socket-input.ts';
import { WebSocketLink, type WebSocketLinkOptions } from './websocket-link.ts';

export interface AcceptOptions {
  /** The sub-protocol that the client must offer (default `culvert.v1`). */
  readonly protocol?: string;
  /** Further headers of the answer. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: answers pings, and closes after three silent intervals of 20 s. */
  readonly keepAlive?: Omit<KeepAliveOptions, 'role' | 'clock'>;
  readonly limits?: WebSocketLinkOptions['limits'];
  readonly clock?: Clock;
}

const rejectTimeoutMs = 2_000;

/** Shared by all links of a broker. */
const defaultKeepAlive: KeepAliveOptions = { role: 'answers' };

/**
 * Completes the handshake of a request that an http.Server's 'upgrade' event brought. Authenticate
 * first, because afterwards the client is connected.
 *
 * @returns undefined for a request that is no such handshake; it was answered with 400 or 426
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
  options: AcceptOptions = {},
): WebSocketLink | undefined {
  const { protocol = culvertProtocol, headers: added = {}, clock } = options;
  const key = request.headers['sec-websocket-key'];
  const problem = handshakeProblem(request, protocol);
  if (problem !== undefined || !isHandshakeKey(key) || !(socket instanceof Socket)) {
    const wrongVersion = request.headers['sec-websocket-version'] !== '13';
    const headers = wrongVersion ? { 'Sec-WebSocket-Version': '13' } : {};
    rejectUpgrade(
      socket,
      wrongVersion ? 426 : 400,
      headers,
      problem ?? 'not a WebSocket handshake',
    );
    return undefined;
  }
  let more = '';
  for (const [name, value] of Object.entries(added)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    more += `${name}: ${value}\r\n`;
  }
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Accept: ${acceptKey(key)}\r\nSec-WebSocket-Protocol: ${protocol}\r\n${more}\r\n`,
  );
  const keepAlive: KeepAliveOptions =
    options.keepAlive === undefined && clock === undefined
      ? defaultKeepAlive
      : { ...options.keepAlive, ...(clock === undefined ? {} : { clock }), role: 'answers' };
  return new WebSocketLink(socket, new SocketInput(socket, head), {
    role: 'server',
    peer: formatPeer(socket),
    keepAlive,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
}

/**
 * Answers an upgrade request with an error and closes its connection.
 *
 * @param headers also Retry-After; without a content type `message` is wrapped as JSON
 */
export function rejectUpgrade(
  socket: Duplex,
  status: number,
  headers: Readonly<Record<string, string>>,
  message: string,
): void {
  const named = new Map(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const body = named.has('content-type') ? message : JSON.stringify({ message });
  if (!named.has('content-type')) named.set('content-type', 'application/json');
  named.set('content-length', String(Buffer.byteLength(body)));
  named.set('connection', 'close');
  named.delete('transfer-encoding');
  let answer = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\n`;
  for (const [name, value] of named) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    answer += `${name}: ${value}\r\n`;
  }
  const timer = setTimeout(() => socket.destroy(), rejectTimeoutMs);
  socket.on('close', () => clearTimeout(timer));
  socket.on('error', () => socket.destroy());
  // Unread bytes would make the kernel reset the connection, and the answer would be lost.
  socket.resume();
  socket.end(`${answer}\r\n${body}`);
}

function handshakeProblem(request: IncomingMessage, protocol: string): string | undefined {
  const { headers } = request;
  if (request.method !== 'GET') return 'a WebSocket handshake is a GET';
  if (!hasToken(headers.upgrade, 'websocket'))
    return 'the request asks for no upgrade to websocket';
  if (headers['sec-websocket-version'] !== '13') return 'this server speaks WebSocket version 13';
  if (!isHandshakeKey(headers['sec-websocket-key'])) return 'Sec-WebSocket-Key is not 16 bytes';
  if (!hasToken(headers['sec-websocket-protocol'], protocol)) {
    return `the request does not offer the sub-protocol ${protocol}`;
  }
  return undefined;
}
