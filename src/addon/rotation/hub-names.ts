import { isIP } from 'node:net';
import type { AlternativeNames } from '../../base/x509/index.ts';

export type HubNames = Pick<AlternativeNames, 'dns' | 'ips'>;

/**
 * The names in the certificates of the hub's servers and of its client, sorted. An address is among
 * the DNS names as well: some clients look for it there.
 */
export function hubNames(sans: readonly string[]): HubNames {
  const dns = sans.toSorted();
  return { dns, ips: dns.filter((name) => isIP(name) !== 0) };
}
