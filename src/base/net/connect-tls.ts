import { isIP, type Socket } from 'node:net';
import { type ConnectionOptions, connect, createSecureContext, type SecureContext } from 'node:tls';
import { describeError } from '../error.ts';
import type { Secret } from '../secret.ts';
import { trustServersOf } from '../tls/tls-trust.ts';
import { type Attempt, keepSocket } from './attempt.ts';
import { codeOf, RouteError } from './route-error.ts';
import { untilSocket } from './until-socket.ts';

/** PEM. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: Secret;
}

/** What is trusted: the given CAs besides the well-known ones, the given CAs alone, or any server. */
export type Trust = 'with-well-known' | 'ca-only' | 'anyone';

export interface TlsPeer {
  /** The name in its certificate, also sent as SNI. */
  readonly serverName: string;
  /** Names it in messages. */
  readonly what: string;
  readonly isProxy: boolean;
  /** A kubeconfig names the only CA that is trusted. */
  readonly isPinned: boolean;
}

/**
 * Does a TLS handshake on a connection.
 *
 * @param options what is trusted and shown, from `trustOf`
 * @throws RouteError `tls`; or the signal's reason
 */
export async function connectTls(
  under: Socket,
  peer: TlsPeer,
  options: ConnectionOptions,
  attempt: Attempt,
): Promise<Socket> {
  const { serverName, what } = peer;
  const { signal, progress } = attempt;
  progress.step = `in the TLS handshake with ${what}`;
  let socket: Socket;
  try {
    socket = connect({
      socket: under,
      host: serverName,
      // An address is no server name (RFC 6066, section 3).
      servername: isIP(serverName) === 0 ? serverName : '',
      ALPNProtocols: ['http/1.1'],
      ...options,
    });
    keepSocket(socket, attempt);
    // Usually the outer socket takes the inner one with it; half a shutdown must not leave it behind.
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

/** What `connectTls` trusts, and what it shows when the server asks. */
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
    if (isProxy) {
      return "check the proxy's URL, and give the CA that issued its certificate, the intermediate or the root, with --ca-file, or in the kubeconfig";
    }
    return isPinned
      ? 'the CA in the kubeconfig has not issued its certificate: have the kubeconfig renewed'
      : 'give the CA that issued its certificate, the intermediate or the root, with --ca-file';
  }
  return 'check that TLS is spoken on that port';
}
