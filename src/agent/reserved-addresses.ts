import { type IpAddress, type IpRange, isInRange, parseIpRange } from '../base/net/ip-address.ts';

/**
 * A range that is no place of a service in the network: the machine itself, its link, or the
 * cloud's own services.
 */
export interface ReservedRange {
  /** `loopback`, `link-local`, ... */
  readonly what: string;
  readonly range: IpRange;
}

const reserved: readonly ReservedRange[] = [
  // Linux connects to the machine itself.
  named('unspecified', '0.0.0.0/8'),
  named('loopback', '127.0.0.0/8'),
  // 169.254.169.254 answers with credentials at most clouds.
  named('link-local', '169.254.0.0/16'),
  named('multicast', '224.0.0.0/4'),
  named('reserved', '240.0.0.0/4'),
  // Alibaba, Azure, Oracle.
  named('metadata', '100.100.100.200/32'),
  named('metadata', '168.63.129.16/32'),
  named('metadata', '192.0.0.192/32'),
  named('unspecified', '::/128'),
  named('loopback', '::1/128'),
  named('link-local', 'fe80::/10'),
  named('multicast', 'ff00::/8'),
  // AWS, Google.
  named('metadata', 'fd00:ec2::254/128'),
  named('metadata', 'fd20:ce::254/128'),
];

/**
 * Prefixes of IPv6 addresses that lead to the IPv4 address after them: compatible, NAT64 (RFC
 * 6052), 6to4.
 */
const translated: readonly IpRange[] = ['::/96', '64:ff9b::/96', '2002::/16'].map((text) =>
  parseIpRange(text)!,
);
/** NAT64 in a network's own prefix (RFC 8215): any /96 in it. */
const localTranslated = parseIpRange('64:ff9b:1::/48')!;

/**
 * The reserved range that an address is in; for one that holds an IPv4 address, the range of the
 * addresses that hold such.
 */
export function reservedRangeOf(address: IpAddress): ReservedRange | undefined {
  const found = reserved.find(({ range }) => isInRange(address, range));
  if (found !== undefined || address.family === 4) return found;
  const prefix = isInRange(address, localTranslated)
    ? { ...localTranslated, bits: 96 }
    : translated.find((range) => isInRange(address, range));
  if (prefix === undefined) return undefined;
  const value = (address.value >> BigInt(96 - prefix.bits)) & 0xffff_ffffn;
  const inner = reserved.find(({ range }) => isInRange({ family: 4, value }, range));
  if (inner === undefined) return undefined;
  const bits = prefix.bits + inner.range.bits;
  return { what: inner.what, range: { ...address, bits } };
}

function named(what: string, range: string): ReservedRange {
  return { what, range: parseIpRange(range)! };
}
