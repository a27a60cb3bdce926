import { BlockList, isIP } from 'node:net';
import { isLoopback } from './host-port.ts';
import { type Proxy, parseProxyUrl, ProxyUrlError, type ProxyUrlErrorCode } from './proxy.ts';
import { Secret } from '../secret.ts';

/** The proxy settings of the environment. A proxy's URL may hold a password. */
export interface ProxyEnvironment {
  /** For ws:// and http:// */
  readonly httpProxy?: Secret | undefined;
  /** For wss:// and https:// */
  readonly httpsProxy?: Secret | undefined;
  /** Hosts that are reached directly. */
  readonly noProxy?: string | undefined;
}

/**
 * The environment names a proxy that cannot be used. The message does not repeat the URL, because
 * it may hold a password.
 */
export class ProxyEnvironmentError extends Error {
  override readonly name = 'ProxyEnvironmentError';
  readonly code: ProxyUrlErrorCode;

  constructor({ code, message }: ProxyUrlError) {
    super(`the environment's proxy ${message}; correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY`);
    this.code = code;
  }
}

/**
 * Reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. A name in lower case takes precedence, as
 * in curl. An empty variable counts as not set.
 */
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
 * The proxy on the way to `url`. Undefined for a direct connection. Loopback is always direct.
 * NO_PROXY lists hosts, separated by commas: `*`; `example.com` with its subdomains; `.example.com`
 * or `*.example.com`, only the subdomains; an address; a range like 10.0.0.0/8. Each entry except
 * `*` may have a `:port`. Every entry that Go's programs accept in NO_PROXY means the same here.
 *
 * @throws ProxyEnvironmentError the environment names something that is not a usable proxy
 */
export function proxyFor(url: URL, environment: ProxyEnvironment): Proxy | undefined {
  const isTls = url.protocol === 'wss:' || url.protocol === 'https:';
  const proxy = (isTls ? environment.httpsProxy : environment.httpProxy)?.reveal().trim();
  if (!proxy) return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (isLoopback(host)) return undefined;
  const port = url.port || (isTls ? '443' : '80');
  const rules = (environment.noProxy ?? '').toLowerCase().split(/[\s,]+/);
  if (rules.some((rule) => rule !== '' && matches(rule, host.toLowerCase(), port)))
    return undefined;
  return parseProxy(proxy);
}

function parseProxy(text: string): Proxy {
  try {
    return parseProxyUrl(text);
  } catch (thrown) {
    if (!(thrown instanceof ProxyUrlError)) throw thrown;
    throw new ProxyEnvironmentError(thrown);
  }
}

function matches(rule: string, host: string, port: string): boolean {
  if (rule === '*') return true;
  const { name, rulePort } = splitPort(rule);
  if (name === '' || (rulePort !== undefined && rulePort !== port)) return false;
  if (isIP(host) !== 0) return isInRange(host, name);
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

function splitPort(rule: string): { name: string; rulePort: string | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(\d+))?$/.exec(rule);
  if (bracketed !== null) return { name: bracketed[1]!, rulePort: bracketed[2] };
  const colon = rule.indexOf(':');
  // A text with several colons is an IPv6 address or range.
  if (colon < 0 || colon !== rule.lastIndexOf(':')) return { name: rule, rulePort: undefined };
  return { name: rule.slice(0, colon), rulePort: rule.slice(colon + 1) };
}

/** Whether `range` contains `address`. `range` may be a single address in any spelling. */
function isInRange(address: string, range: string): boolean {
  const [network = '', prefix] = range.split('/');
  const family = isIP(network);
  if (family === 0) return false;
  const widest = family === 4 ? 32 : 128;
  const bits = prefix === undefined ? widest : Number(prefix);
  if (prefix !== undefined && (!/^\d+$/.test(prefix) || bits > widest)) return false;
  const list = new BlockList();
  list.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}
