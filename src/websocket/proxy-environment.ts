import { BlockList, isIP } from 'node:net';
import { Secret } from '../base/secret.ts';
import { HandshakeError } from './handshake-error.ts';

/** What the environment says about proxies. A proxy's URL may hold a password. */
export interface ProxyEnvironment {
  /** For ws:// */
  readonly httpProxy?: Secret | undefined;
  /** For wss:// */
  readonly httpsProxy?: Secret | undefined;
  /** Hosts that are reached directly. */
  readonly noProxy?: string | undefined;
}

/** Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; the name in small letters wins, as in curl. Empty is as unset. */
export function readProxyEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): ProxyEnvironment {
  const value = (name: string) => env[name.toLowerCase()] || env[name] || undefined;
  const secret = (text: string | undefined) => (text === undefined ? undefined : new Secret(text));
  return {
    httpProxy: secret(value('HTTP_PROXY') ?? value('ALL_PROXY')),
    httpsProxy: secret(value('HTTPS_PROXY') ?? value('ALL_PROXY')),
    noProxy: value('NO_PROXY'),
  };
}

/**
 * The proxy on the way to `url`; undefined: none. NO_PROXY lists, separated by commas: `*`; `example.com`, which covers its subdomains;
 * `.example.com` or `*.example.com`, which covers only those; an address; a range like 10.0.0.0/8; each but `*` with an optional `:port`.
 *
 * @throws HandshakeError `proxy` the environment names something that is no HTTP proxy
 */
export function proxyFor(url: URL, environment: ProxyEnvironment): URL | undefined {
  const isTls = url.protocol === 'wss:' || url.protocol === 'https:';
  const proxy = (isTls ? environment.httpsProxy : environment.httpProxy)?.reveal().trim();
  if (!proxy) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  const port = url.port || (isTls ? '443' : '80');
  const rules = (environment.noProxy ?? '').toLowerCase().split(/[\s,]+/);
  if (rules.some((rule) => rule !== '' && matches(rule, host.toLowerCase(), port)))
    return undefined;
  return parseProxy(proxy);
}

function parseProxy(text: string): URL {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  // The text is not repeated: it may hold a password.
  if (url === null) throw new HandshakeError('proxy', "the environment's proxy is no URL");
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  const message = `the environment's proxy begins with ${url.protocol}//, only http:// and https:// proxies can be used`;
  throw new HandshakeError('proxy', message);
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === '*') return true;
  const { name, rulePort } = splitPort(rule);
  if (rulePort !== undefined && rulePort !== port) return false;
  if (isIP(host) !== 0) return name === host || isInRange(host, name);
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

function splitPort(rule: string): { name: string; rulePort: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(\d+))?$/.exec(rule);
  if (bracketed !== null) return { name: bracketed[1]!, rulePort: bracketed[2] };
  const colon = rule.indexOf(':');
  // More than one colon: an IPv6 address or range.
  if (colon < 0 || colon !== rule.lastIndexOf(':')) return { name: rule, rulePort: undefined };
  return { name: rule.slice(0, colon), rulePort: rule.slice(colon + 1) };
}

function isInRange(address: string, range: string): boolean {
  const [network = '', prefix = ''] = range.split('/');
  const family = isIP(network);
  const bits = Number(prefix);
  if (family === 0 || !/^\d+$/.test(prefix) || bits > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}
