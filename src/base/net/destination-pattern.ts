import { type IpRange, isInRange, parseIpAddress, parseIpRange } from './ip-address.ts';
import { ValueError } from '../value-error.ts';

/** One or several destinations that an operator allows agents to dial. */
export interface DestinationPattern {
  /**
   * `host` is in lower case, and an IPv6 address has no brackets. An address matches in every
   * spelling.
   */
  matches(this: void, host: string, port: number): boolean;
  /** Whether `matches` is true at some port. */
  matchesHost(this: void, host: string): boolean;
  /**
   * The addresses that the pattern itself lists, at the ports of `hasPort`. A name that resolves to
   * an address does not list it, except `localhost`.
   */
  readonly ranges: readonly IpRange[];
  hasPort(this: void, port: number): boolean;
}

interface Hosts {
  matches(this: void, host: string): boolean;
  readonly ranges: readonly IpRange[];
}

const localhost: readonly IpRange[] = [parseIpRange('127.0.0.0/8')!, parseIpRange('::1/128')!];

/**
 * Reads a pattern of destinations that agents may dial: `host:port`, `*.suffix:port`, `host:*` or
 * `CIDR:port`, with brackets around IPv6. A range of IPv6 addresses never includes IPv4 addresses,
 * not even as `::ffff:a.b.c.d`.
 *
 * @throws ValueError the text has none of these forms
 */
export function parseDestinationPattern(text: string): DestinationPattern {
  const match = /^(?:\[([^\]\s]+)\](\/\d+)?|([^:[\]\s]+)):(\*|\d{1,5})$/.exec(text);
  const portText = match?.[4];
  const hostText = match?.[1] === undefined ? match?.[3] : match[1] + (match[2] ?? '');
  if (hostText === undefined || portText === undefined || Number(portText) > 65_535) {
    throw new ValueError('is no destination: write host:port, *.suffix:port, host:* or CIDR:port');
  }
  const { matches, ranges } = parseHosts(hostText.toLowerCase());
  const wanted = portText === '*' ? undefined : Number(portText);
  const hasPort = (port: number): boolean => wanted === undefined || port === wanted;
  return {
    matches: (host, port) => hasPort(port) && matches(host),
    matchesHost: matches,
    ranges,
    hasPort,
  };
}

function parseHosts(text: string): Hosts {
  if (text === '*') return { matches: () => true, ranges: [] };
  const [name, suffix] = text.startsWith('*.') ? [text.slice(2), text.slice(1)] : [text];
  if (name.includes('*')) {
    throw new ValueError('has a star in a place where none counts: * or *.suffix is possible');
  }
  if (suffix !== undefined) return { matches: (host) => host.endsWith(suffix), ranges: [] };
  if (text.includes('/')) return hostsOf(parseIpRange(text));
  const address = parseIpAddress(text);
  if (address !== undefined) {
    return hostsOf({ ...address, bits: address.family === 4 ? 32 : 128 });
  }
  return { matches: (host) => host === text, ranges: text === 'localhost' ? localhost : [] };
}

function hostsOf(range: IpRange | undefined): Hosts {
  if (range === undefined) throw new ValueError('holds a malformed CIDR');
  const matches = (host: string): boolean => {
    const address = parseIpAddress(host);
    return address !== undefined && isInRange(address, range);
  };
  return { matches, ranges: [range] };
}
