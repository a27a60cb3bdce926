import { isIP } from 'node:net';

/** An address as a number, so that its spelling does not matter. */
export interface IpAddress {
  /**
   * The family of the address. An IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) counts as IPv4,
   * because a connection to it reaches the IPv4 address.
   */
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** Addresses that have the first `bits` bits in common. */
export interface IpRange extends IpAddress {
  readonly bits: number;
}

const mappedPrefix = 0xffffn;
const low32 = 0xffff_ffffn;

/**
 * Reads an address in any spelling that `isIP` accepts, without brackets. A zone (`%eth0`) is
 * dropped. Undefined when the text is not an address.
 */
export function parseIpAddress(text: string): IpAddress | undefined {
  const [address = ''] = text.split('%', 1);
  const family = isIP(address);
  if (family === 0) return undefined;
  if (family === 4) return { family: 4, value: ipv4Value(address) };
  const value = ipv6Value(address);
  if (value >> 32n === mappedPrefix) return { family: 4, value: value & low32 };
  return { family: 6, value };
}

/**
 * Reads `ADDRESS/BITS`. A range of mapped addresses counts as a range of IPv4 addresses. Undefined
 * when the text is not a range.
 */
export function parseIpRange(text: string): IpRange | undefined {
  const [, network = '', bitsText = ''] = /^([^/%]+)\/(\d{1,3})$/.exec(text) ?? [];
  const bits = Number(bitsText);
  const address = parseIpAddress(network);
  if (address === undefined) return undefined;
  if (isIP(network) === 4) return bits > 32 ? undefined : { ...address, bits };
  if (bits > 128) return undefined;
  if (address.family === 6) return { ...address, bits };
  // `::ffff:10.0.0.0/104` is 10.0.0.0/8. A range that is wider than ::ffff:0:0/96 is an IPv6 range.
  return bits >= 96
    ? { ...address, bits: bits - 96 }
    : { family: 6, value: ipv6Value(network), bits };
}

/** Ranges of one family never contain addresses of the other family. */
export function isInRange({ family, value }: IpAddress, range: IpRange): boolean {
  const shift = BigInt((family === 4 ? 32 : 128) - range.bits);
  return family === range.family && value >> shift === range.value >> shift;
}

function ipv4Value(text: string): bigint {
  return text.split('.').reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

function ipv6Value(text: string): bigint {
  const dotted = /[\d.]+$/.exec(text)?.[0] ?? '';
  const isDotted = dotted.includes('.');
  const tail = isDotted ? ipv4Value(dotted) : 0n;
  const hex = isDotted
    ? `${text.slice(0, -dotted.length)}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`
    : text;
  const [head = '', rest] = hex.split('::');
  const left = groups(head);
  const right = rest === undefined ? [] : groups(rest);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0n);
  return [...left, ...zeros, ...right].reduce((value, group) => (value << 16n) | group, 0n);
}

function groups(text: string): bigint[] {
  return text === '' ? [] : text.split(':').map((group) => BigInt(`0x${group}`));
}
