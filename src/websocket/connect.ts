import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { Socket } from 'node:net';
import { systemClock, type Clock } from '../base/clock.ts';
import type { Proxy } from '../base/net/proxy.ts';
import { ProxyEnvironmentError, proxyFor } from '../base/net/proxy-environment.ts';
import { version } from '../base/version.ts';
import { readAnswer, readBodyStart, type HttpAnswer } from '../base/net/http-answer.ts';
import { formatPeer } from '../base/net/format-peer.ts';
import { hostPortOf, openRoute } from '../base/net/open-route.ts';
import { RouteError } from '../base/net/route-error.ts';
import type { ServerRoute } from '../base/net/server-route.ts';
import { ConnectError } from '../tunnel/connect-error.ts';
import { acceptKey, culvertProtocol, hasToken, newHandshakeKey } from './handshake-key.ts';
import type { KeepAliveOptions } from './keep-alive.ts';
import { refusal } from './refusal.ts';
import { SocketInput } from '../base/net/socket-input.ts';
import { WebSocketLink, type WebSocketLinkOptions } from './websocket-link.ts';

export interface ConnectOptions extends ServerRoute {
  /** The sub-protocol that both ends must name (default `culvert.v1`). */
  readonly protocol?: string | undefined;
  /** Aborting before the promise settles closes everything; afterwards it has no effect. */
  readonly signal?: AbortSignal | undefined;
  /** For everything together, in milliseconds (default 15_000). */
  readonly timeoutMs?: number | undefined;
  /** Default: a ping every 20 s; the link closes after two without an answer. */
  readonly keepAlive?: Omit<KeepAliveOptions, 'role' | 'clock'> | undefined;
  readonly limits?: WebSocketLinkOptions['limits'];
  readonly clock?: Clock | undefined;
}

const bodyTimeoutMs = 1_000;

/**
 * Connects to a server, through a proxy if need be, and does the WebSocket handshake.
 *
 * @throws ConnectError says which step failed; nothing is left open then
 */
export async function connectWebSocket(options: ConnectOptions): Promise<WebSocketLink> {
  const { url, signal, timeoutMs = 15_000, clock = systemClock } = options;
  const ended = new AbortController();
  const progress = { step: 'connecting' };
  const opened: Socket[] = [];
  const timer = clock.setTimer(timeoutMs, () => {
    const message = `no connection to ${url.host} within ${timeoutMs / 1000} s: timed out while ${progress.step}`;
    ended.abort(new ConnectError('timeout', message));
  });
  const onAbort = () => {
    const cause: unknown = signal?.reason;
    const message = `connecting to ${url.host} was aborted`;
    ended.abort(new ConnectError('aborted', message, { cause }));
  };
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort);
  try {
    const userAgent = options.userAgent ?? `culvert/${version}`;
    const request = requestHead(options, userAgent);
    const route = { ...options, userAgent, proxy: proxyOf(options) };
    const socket = await openRoute(route, { opened, progress, signal: ended.signal });
    progress.step = 'waiting for the answer to the WebSocket handshake';
    const answer = await shakeHands(socket, request, options, ended.signal);
    return newLink(socket, answer.rest, options);
  } catch (thrown) {
    for (const socket of opened.toReversed()) socket.destroy();
    throw thrown instanceof RouteError ? handshakeError(thrown) : thrown;
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}

function handshakeError({ code, message, status, retryAfterMs, cause }: RouteError) {
  const ownCode = code === 'not_http' ? 'not_websocket' : code;
  return new ConnectError(ownCode, message, { status, retryAfterMs, cause });
}

function proxyOf({ url, proxy, proxies = {} }: ConnectOptions): Proxy | undefined {
  try {
    return proxy ?? proxyFor(url, proxies);
  } catch (cause) {
    if (!(cause instanceof ProxyEnvironmentError)) throw cause;
    throw new ConnectError('proxy', cause.message, { cause });
  }
}

interface RequestHead {
  readonly text: string;
  readonly key: string;
}

function requestHead(options: ConnectOptions, userAgent: string): RequestHead {
  const { url, protocol = culvertProtocol } = options;
  const key = newHandshakeKey();
  const own = Object.keys(options.headers ?? {}).map((name) => name.toLowerCase());
  const headers: Record<string, string> = {
    Host: options.hostHeader ?? url.host,
    ...(own.includes('user-agent') ? {} : { 'User-Agent': userAgent }),
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': key,
    'Sec-WebSocket-Protocol': protocol,
    ...options.headers,
  };
  let text = `GET ${url.pathname}${url.search} HTTP/1.1\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    text += `${name}: ${value}\r\n`;
  }
  return { text: `${text}\r\n`, key };
}

async function shakeHands(
  socket: Socket,
  request: RequestHead,
  options: ConnectOptions,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const { url, protocol = culvertProtocol, clock = systemClock } = options;
  const sentMs = clock.now();
  socket.write(request.text);
  const answer = await readAnswer(socket, signal).catch((cause: unknown) => {
    signal.throwIfAborted();
    if (cause instanceof RouteError) throw cause;
    const message = `${url.host} closed the connection instead of answering the WebSocket handshake; is it a culvert broker?`;
    throw new ConnectError('not_websocket', message, { cause });
  });
  options.onAnswer?.(answer.headers, clock.now() - sentMs);
  if (answer.status !== 101) {
    const enough = new AbortController();
    const timer = clock.setTimer(bodyTimeoutMs, () => enough.abort());
    const patience = AbortSignal.any([signal, enough.signal]);
    const body = await readBodyStart(socket, answer, patience);
    timer.cancel();
    throw refusal(url, answer, body);
  }
  const problem =
    answerProblem(answer, request.key, protocol) ?? options.checkAnswer?.(answer.headers);
  if (problem === undefined) return answer;
  const message = `${url.host}${url.pathname} answered the WebSocket handshake wrongly: ${problem}`;
  throw new ConnectError('not_websocket', message, { status: 101 });
}

function answerProblem(answer: HttpAnswer, key: string, protocol: string): string | undefined {
  const { headers } = answer;
  if (!hasToken(headers.get('upgrade'), 'websocket')) return 'no "Upgrade: websocket"';
  if (!hasToken(headers.get('connection'), 'upgrade')) return 'no "Connection: Upgrade"';
  if (headers.get('sec-websocket-accept') !== acceptKey(key)) return 'wrong Sec-WebSocket-Accept';
  if (headers.get('sec-websocket-protocol') !== protocol) {
    return `it does not speak the sub-protocol ${protocol}`;
  }
  if (headers.has('sec-websocket-extensions')) return 'an extension that was not offered';
  return undefined;
}

function newLink(socket: Socket, head: Uint8Array, options: ConnectOptions): WebSocketLink {
  const { url, clock } = options;
  const { localAddress, localPort } = socket;
  const keepAlive: KeepAliveOptions = {
    ...options.keepAlive,
    ...(clock === undefined ? {} : { clock }),
    role: 'pings',
  };
  return new WebSocketLink(socket, new SocketInput(socket, head), {
    role: 'client',
    peer: url.port === '' ? `${url.host}:${hostPortOf(url).port}` : url.host,
    ...(localAddress === undefined
      ? {}
      : { local: formatPeer({ remoteAddress: localAddress, remotePort: localPort }) }),
    keepAlive,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
}
