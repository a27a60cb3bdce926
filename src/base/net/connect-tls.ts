import { isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { describeError } from '../error.ts';
import type { Secret } from '../secret.ts';
import { trustServersOf } from '../tls/tls-trust.ts';
import { type Attempt, keepSocket } from './attempt.ts';
import { codeOf, RouteError } from './route-error.ts';
import { untilSocket } from './until-socket.ts';

/** A client certificate and its key in PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: Secret;
}

/**
 * The trusted CAs: the given ones in addition to the well-known ones, the given ones alone, or no
 * check at all.
 */
export type Trust = 'with-well-known' | 'ca-only' | 'anyone';

export interface TlsPeer {
  /** The name that the server's certificate must have. It is also sent as SNI. */
  readonly serverName: string;
  /** Names the server in messages. */
  readonly what: string;
  readonly isProxy: boolean;
  /** True when a kubeconfig names the only CA that is trusted. */
  readonly isPinned: boolean;
  /** The protocols to offer, the preferred one first (default: HTTP/1.1 alone). */
  readonly protocols?: readonly string[];
}

/**
 * Performs a TLS handshake on a connection.
 *
 * @param options trust settings and client certificate, from `trustOf`
 * @throws RouteError `tls`; or the signal's reason
 */
export async function connectTls(
  under: Socket,
  peer: TlsPeer,
  options: ConnectionOptions,
  attempt: Attempt,
): Promise<TLSSocket> {
  const { what, protocols = ['http/1.1'] } = peer;
  // Neither SNI (RFC 6066, section 3) nor a certificate has the final dot of an absolute name.
  const serverName = peer.serverName.replace(/\.$/, '');
  const { signal, progress } = attempt;
  progress.step = `in the TLS handshake with ${what}`;
  let socket: TLSSocket;
  try {
    socket = connect({
      socket: under,
      host: serverName,
      // SNI must not hold an address (RFC 6066, section 3).
      servername: isIP(serverName) === 0 ? serverName : '',
      ALPNProtocols: [...protocols],
      ...options,
    });
    keepSocket(socket, attempt);
    // The outer socket usually closes the inner one. After a half shutdown it does not.
    socket.on('close', () => under.destroy());
    await untilSocket<void>(socket, signal, (resolve) => {
      socket.on('secureConnect', resolve);
      return () => socket.off('secureConnect', resolve);
    });
  } catch (cause) {
    signal.throwIfAborted();
    const message = `no TLS connection to ${what} (${describeError(cause)}); ${tlsAdvice(codeOf(cause), peer)}`;
    throw new RouteError('tls', message, { cause });
  }
  return socket;
}

/**
 * The trust settings of `connectTls`, and the client certificate that it shows when the server
 * asks.
 */
export function trustOf(
  given: readonly (string | undefined)[],
  trust: Trust = 'with-well-known',
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

/**
 * Contexts by their settings, the latest last. A process needs one for its CA and certificate,
 * until their files are replaced, and perhaps one for a proxy.
 */
const contexts = new Map<string, SecureContext>();
const maxContexts = 4;

/**
 * Returns a context that connections share. Parsing the well-known certificates costs more than the
 * rest of a TLS handshake.
 */
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
    if (isProxy) {
      return "check the proxy's URL, and give the CA that issued its certificate, the intermediate or the root, with --ca-file, or in the kubeconfig";
    }
    return isPinned
      ? 'the CA in the kubeconfig has not issued its certificate: have the kubeconfig renewed'
      : 'give the CA that issued its certificate, the intermediate or the root, with --ca-file';
  }
  return 'check that TLS is spoken on that port';
}
