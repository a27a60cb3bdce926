import { isIP } from 'node:net';

/** Addresses by name, in lower case. */
export type HostsTable = ReadonlyMap<string, readonly string[]>;

/**
 * Reads hosts(5): an address and its names on each line. Lines that do not start with an address
 * are skipped, as getaddrinfo does.
 */
export function parseHostsFile(text: string): HostsTable {
  const table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names) addAddress(table, name.toLowerCase(), address);
  }
  return table;
}

function addAddress(table: Map<string, string[]>, name: string, address: string): void {
  const known = table.get(name);
  if (known === undefined) table.set(name, [address]);
  else if (!known.includes(address)) known.push(address);
}
