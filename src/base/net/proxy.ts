import type { HostPort } from './host-port.ts';
import { Secret } from '../secret.ts';

/**
 * The protocol of a proxy: HTTP CONNECT in plain text, HTTP CONNECT over TLS, or SOCKS 5 (RFC
 * 1928). With `socks5`, this machine resolves the name of the destination. With `socks5h`, the
 * proxy does.
 */
export type ProxyScheme = 'http' | 'https' | 'socks5' | 'socks5h';

/** A proxy for outbound connections. The host has no brackets. */
export interface Proxy extends HostPort {
  readonly scheme: ProxyScheme;
  readonly credentials: ProxyCredentials | undefined;
}

export interface ProxyCredentials {
  readonly user: string;
  readonly password: Secret;
}

export type ProxyUrlErrorCode = 'not_a_url' | 'unsupported_scheme' | 'not_encoded';

/**
 * The text is not the URL of a usable proxy. The message never repeats any part of the user or the
 * password.
 */
export class ProxyUrlError extends Error {
  override readonly name = 'ProxyUrlError';
  readonly code: ProxyUrlErrorCode;

  constructor(code: ProxyUrlErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

const defaultPorts = { http: 80, https: 443, socks5: 1080, socks5h: 1080 } as const;
/** RFC 1929, section 2: the length is one byte. */
const maxSocksFieldBytes = 255;

/**
 * Reads the URL of a proxy: `[scheme://][user:password@]host[:port]`. The default scheme is
 * `http://`. White space around the URL and a path are ignored.
 *
 * An unencoded `#`, `?`, `/` or `\` in a password ends the host of a URL. The part before it would
 * be read as host and port, and be printed. This function finds such passwords before a URL parser
 * reads them.
 *
 * @throws ProxyUrlError its message is a predicate: `has ...`, `is ...`
 */
export function parseProxyUrl(text: string): Proxy {
  const [, givenScheme = 'http', rest = ''] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(
    text.trim(),
  )!;
  const scheme = givenScheme.toLowerCase();
  if (!isProxyScheme(scheme)) {
    const message = `begins with ${scheme}://, only http://, https://, socks5:// and socks5h:// proxies are supported`;
    throw new ProxyUrlError('unsupported_scheme', message);
  }
  const end = rest.search(/[#?/\\]/);
  if (end >= 0 && rest.includes('@', end)) {
    const message =
      'has a #, ?, / or \\ in its user or password; write it as %23, %3F, %2F or %5C in the URL';
    throw new ProxyUrlError('not_encoded', message);
  }
  const authority = end < 0 ? rest : rest.slice(0, end);
  // The text is parsed as http://, because URL parsers do not check the host of an unknown scheme.
  const url = URL.parse(`http://${authority}`);
  const host = url?.hostname.replace(/^\[|\]$/g, '');
  const port = Number(/:(\d+)$/.exec(authority)?.[1] ?? defaultPorts[scheme]);
  if (url === null || !host || port === 0) {
    const message = 'is not a URL (expected scheme://user:password@host:port)';
    throw new ProxyUrlError('not_a_url', message);
  }
  return { scheme, host, port, credentials: credentialsOf(url, scheme) };
}

/**
 * All properties that distinguish two proxies, including the password. Use it to compare, never to
 * print.
 */
export function proxyFingerprint(proxy: Proxy | undefined): Secret {
  return new Secret(JSON.stringify([proxy, proxy?.credentials?.password.reveal()]));
}

function isProxyScheme(scheme: string): scheme is ProxyScheme {
  return Object.hasOwn(defaultPorts, scheme);
}

function credentialsOf(url: URL, scheme: ProxyScheme): ProxyCredentials | undefined {
  if (url.username === '' && url.password === '') return undefined;
  const user = decode(url.username);
  const password = decode(url.password);
  const longest = Math.max(...[user, password].map((field) => Buffer.byteLength(field)));
  if (scheme.startsWith('socks') && longest > maxSocksFieldBytes) {
    const message = `has a user or password of more than ${maxSocksFieldBytes} bytes, which SOCKS 5 cannot send`;
    throw new ProxyUrlError('not_encoded', message);
  }
  return { user, password: new Secret(password) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // The cause is left out, because a decoder's message may quote its input.
    const message =
      'has a % in its user or password that is not part of an encoded character; write % itself as %25 in the URL';
    throw new ProxyUrlError('not_encoded', message);
  }
}
