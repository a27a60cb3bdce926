import { BlockList, isIP } from 'node:net';
import { ValueProblem } from './options-values.ts';

/** Whether a destination is one of those that a pattern stands for; the host in lower case, IPv6 without brackets. */
export type DestinationMatch = (host: string, port: number) => boolean;

/**
 * Reads what an operator lets agents dial: `host:port`, `*.suffix:port`, `host:*` or `CIDR:port`, with brackets around IPv6.
 *
 * @throws ValueProblem it is none of them
 */
export function parseDestinationPattern(text: string): DestinationMatch {
  const match = /^(?:\[([^\]\s]+)\](\/\d+)?|([^:[\]\s]+)):(\*|\d{1,5})$/.exec(text);
  const portText = match?.[4];
  const hostText = match?.[1] === undefined ? match?.[3] : match[1] + (match[2] ?? '');
  if (hostText === undefined || portText === undefined || Number(portText) > 65_535) {
    throw new ValueProblem(
      'is no destination: write host:port, *.suffix:port, host:* or CIDR:port',
    );
  }
  const hosts = parseHosts(hostText.toLowerCase());
  if (portText === '*') return (host) => hosts(host);
  const wanted = Number(portText);
  return (host, port) => port === wanted && hosts(host);
}

function parseHosts(text: string): (host: string) => boolean {
  if (text === '*') return () => true;
  const [name, suffix] = text.startsWith('*.') ? [text.slice(2), text.slice(1)] : [text];
  if (name.includes('*')) {
    throw new ValueProblem('has a star in a place where none counts: * or *.suffix is possible');
  }
  if (suffix !== undefined) return (host) => host.endsWith(suffix);
  if (!text.includes('/')) return (host) => host === text;
  const [, network = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = isIP(network);
  if (family === 0 || Number(bits) > (family === 4 ? 32 : 128)) {
    throw new ValueProblem('holds a malformed CIDR');
  }
  const list = new BlockList();
  list.addSubnet(network, Number(bits), family === 4 ? 'ipv4' : 'ipv6');
  return (host) => {
    const of = isIP(host);
    return of !== 0 && list.check(host, of === 4 ? 'ipv4' : 'ipv6');
  };
}
