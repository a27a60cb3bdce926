import { isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect as connectTls,
  createSecureContext,
  type SecureContext,
} from 'node:tls';
import { describeError } from '../base/error.ts';
import { connectTcp } from '../base/net/connect-tcp.ts';
import { NameError } from '../base/net/name-error.ts';
import type { Secret } from '../base/secret.ts';
import { trustServersOf } from '../base/tls-trust.ts';
import { HandshakeError } from './handshake-error.ts';
import { readAnswer, retryAfterMs } from './http-answer.ts';
import { untilSocket } from './until-socket.ts';

export interface Route {
  readonly url: URL;
  readonly proxy?: URL | undefined;
  readonly ca?: string | undefined;
  /** PEM; trusted for an https:// proxy, and for nothing else, besides `ca` and the well-known CAs. */
  readonly proxyCa?: string | undefined;
  readonly serverName?: string | undefined;
  /** Shown to the server (not to a proxy) when it asks. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** What is trusted: `ca` besides the well-known CAs (default), `ca` alone, or whoever answers. */
  readonly trust?: 'with-well-known' | 'ca-only' | 'anyone' | undefined;
}

/** PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: Secret;
}

/** What is being done, for the sentence of a timeout. */
export interface Progress {
  step: string;
}

/**
 * Opens the connection that the handshake is written to: TCP, a proxy's tunnel in it, TLS in that, as the route needs.
 *
 * @param opened gets every socket, so that the caller can destroy them
 * @throws HandshakeError `dns`, `connect`, `proxy`, `tls`, or the signal's reason
 */
export async function openRoute(
  route: Route,
  opened: Socket[],
  progress: Progress,
  signal: AbortSignal,
): Promise<Socket> {
  const { url, proxy, ca, proxyCa, serverName } = route;
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new HandshakeError(
      'connect',
      `a broker's URL begins with ws:// or wss://, not ${url.protocol}//`,
    );
  }
  const what = proxy === undefined ? url.host : `the proxy ${proxy.host}`;
  progress.step = `connecting to ${what}`;
  let socket = await openTcp(proxy ?? url, what, opened, signal);
  if (proxy?.protocol === 'https:') {
    progress.step = `in the TLS handshake with ${what}`;
    const peer = { serverName: hostOf(proxy), what, isProxy: true, isPinned: false };
    socket = await openTls(socket, peer, trustOf([ca, proxyCa]), opened, signal);
  }
  if (proxy !== undefined) {
    progress.step = `waiting for ${what} to connect to ${url.host}`;
    await openTunnel(socket, proxy, url, signal);
  }
  if (url.protocol === 'wss:') {
    progress.step = `in the TLS handshake with ${url.host}`;
    const own = trustOf([ca], route.trust, route.clientCertificate);
    const isPinned = route.trust === 'ca-only';
    const name = serverName ?? hostOf(url);
    const peer = { serverName: name, what: url.host, isProxy: false, isPinned };
    socket = await openTls(socket, peer, own, opened, signal);
  }
  return socket;
}

export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'wss:' || url.protocol === 'https:' ? 443 : 80;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

async function openTcp(
  url: URL,
  what: string,
  opened: Socket[],
  signal: AbortSignal,
): Promise<Socket> {
  try {
    const socket = await connectTcp({ host: hostOf(url), port: portOf(url) }, { signal });
    keep(socket, opened);
    return socket;
  } catch (cause) {
    signal.throwIfAborted();
    const why = describeError(cause);
    if (cause instanceof NameError) {
      const message = `the name of ${what} was not found (${why}); check the URL and this machine's DNS`;
      throw new HandshakeError('dns', message, { cause });
    }
    const message = `${what} cannot be reached (${why}); check the address, and firewalls on the way`;
    throw new HandshakeError('connect', message, { cause });
  }
}

interface TlsPeer {
  readonly serverName: string;
  /** For sentences. */
  readonly what: string;
  readonly isProxy: boolean;
  /** A kubeconfig names the one CA that counts. */
  readonly isPinned: boolean;
}

async function openTls(
  under: Socket,
  peer: TlsPeer,
  options: ConnectionOptions,
  opened: Socket[],
  signal: AbortSignal,
): Promise<Socket> {
  const { serverName, what } = peer;
  let socket: Socket;
  try {
    socket = connectTls({
      socket: under,
      host: serverName,
      // An address is no server name (RFC 6066, section 3).
      servername: isIP(serverName) === 0 ? serverName : '',
      ALPNProtocols: ['http/1.1'],
      ...options,
    });
    keep(socket, opened);
    // Usually the outer socket takes the inner one with it; half a shutdown must not leave it behind.
    socket.on('close', () => under.destroy());
    await untilEvent(socket, 'secureConnect', signal);
  } catch (cause) {
    if (cause instanceof HandshakeError) throw cause;
    const message = `no TLS connection to ${what} (${describeError(cause)}); ${tlsAdvice(codeOf(cause), peer)}`;
    throw new HandshakeError('tls', message, { cause });
  }
  return socket;
}

function trustOf(
  given: readonly (string | undefined)[],
  trust: Route['trust'] = 'with-well-known',
  shown?: ClientCertificate,
): ConnectionOptions {
  if (trust === 'anyone') return { rejectUnauthorized: false, ...shownBy(shown) };
  const [first, ...others] = given.filter((ca) => ca !== undefined);
  if (first === undefined) return shownBy(shown);
  return { secureContext: sharedContext([first, ...others], trust, shown) };
}

function shownBy(certificate: ClientCertificate | undefined) {
  return certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key.reveal() };
}

/** A process has one CA and one certificate, until their files are replaced, and perhaps a proxy's; the one made last is last. */
const contexts = new Map<string, SecureContext>();
const maxContexts = 4;

/** Parsing the well-known certificates costs more than the rest of a TLS handshake, so connections share what comes of it. */
function sharedContext(
  cas: readonly [string, ...string[]],
  trust: 'with-well-known' | 'ca-only',
  shown: ClientCertificate | undefined,
): SecureContext {
  const key = [trust, ...cas, shown?.cert, shown?.key.reveal()].join('\n');
  const known = contexts.get(key);
  if (known !== undefined) return known;
  const trusted = trustServersOf(cas, trust === 'ca-only' ? 'nothing' : 'well-known');
  const context = createSecureContext({ ...trusted, ...shownBy(shown) });
  contexts.set(key, context);
  const [oldest] = contexts.keys();
  if (contexts.size > maxContexts) contexts.delete(oldest!);
  return context;
}

function tlsAdvice(code: string, { isProxy, isPinned }: TlsPeer): string {
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return "renew the server's certificate, or set this machine's clock";
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return isProxy
      ? 'the URL of the proxy must have a name that is in its certificate'
      : 'check the URL, or name the server with --server-name';
  }
  if (/CERT|SIGNATURE|SIGNED/.test(code)) {
    return isPinned
      ? 'the CA in the kubeconfig has not issued its certificate: have the kubeconfig renewed'
      : 'give the CA that issued its certificate, the intermediate or the root, with --ca-file';
  }
  return 'check that TLS is spoken on that port';
}

async function openTunnel(
  socket: Socket,
  proxy: URL,
  url: URL,
  signal: AbortSignal,
): Promise<void> {
  const authority = `${url.hostname}:${portOf(url)}`;
  const user = decodeURIComponent(proxy.username);
  const password = decodeURIComponent(proxy.password);
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  const authorization = user === '' ? '' : `Proxy-Authorization: Basic ${credentials}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`);
  const what = `the proxy ${proxy.host}`;
  const answer = await readAnswer(socket, signal).catch((cause: unknown) => {
    if (cause instanceof HandshakeError && cause.code !== 'not_websocket') throw cause;
    const message = `${what} gave no proper answer to CONNECT ${authority} (${describeError(cause)}); is it an HTTP proxy?`;
    throw new HandshakeError('proxy', message, { cause });
  });
  const { status } = answer;
  if (status < 200 || status > 299) {
    const advice =
      status === 407 || status === 401
        ? "put user and password into the proxy's URL"
        : `check that it allows CONNECT to port ${portOf(url)}`;
    const message = `${what} answered ${status} to CONNECT ${authority}; ${advice}`;
    throw new HandshakeError('proxy', message, { status, retryAfterMs: retryAfterMs(answer) });
  }
  // Whoever is behind the tunnel waits for us to speak first.
  if (answer.rest.length > 0) {
    throw new HandshakeError('proxy', `${what} sent more than its answer to CONNECT ${authority}`);
  }
}

function keep(socket: Socket, opened: Socket[]): void {
  opened.push(socket);
  // Errors between two waits are seen by the next one, because the socket is closed then.
  socket.on('error', () => {});
}

function untilEvent(socket: Socket, event: 'secureConnect', signal: AbortSignal) {
  return untilSocket<void>(socket, signal, (resolve) => {
    socket.on(event, resolve);
    return () => socket.off(event, resolve);
  });
}

function codeOf(thrown: unknown): string {
  const { code } = thrown as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
