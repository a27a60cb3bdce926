import { BlockList, isIP } from 'node:net';
import { withoutMapping } from '../net/address-group.ts';
import { ValueError } from '../value-error.ts';

/**
 * Networks of proxies. The broker trusts what these proxies report about the addresses of their
 * clients.
 */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  private constructor(networks: readonly string[]) {
    this.#isEmpty = networks.length === 0;
    for (const network of networks) {
      const [address = '', prefix] = network.split('/', 2);
      const family = isIP(address);
      const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix);
      const isPrefix = /^\d{1,3}$/.test(prefix ?? '0') && bits <= (family === 4 ? 32 : 128);
      if (family === 0 || !isPrefix) {
        throw new ValueError(
          `names "${network}", which is neither an address nor a CIDR (10.0.0.0/8, fd00::/8)`,
          { withoutText: true },
        );
      }
      this.#list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6');
    }
  }

  /**
   * Reads a list of addresses and CIDRs, separated by commas.
   *
   * @throws ValueError an entry is neither an address nor a CIDR
   */
  static parse(text: string): TrustedProxies {
    const networks = text.split(',').map((network) => network.trim());
    return new TrustedProxies(networks.filter((network) => network !== ''));
  }

  includes(address: string): boolean {
    if (this.#isEmpty) return false;
    const plain = withoutMapping(address);
    const family = isIP(plain);
    return family !== 0 && this.#list.check(plain, family === 4 ? 'ipv4' : 'ipv6');
  }

  /**
   * The address of the client. It is the address of the connection, unless that is a trusted proxy.
   * Then it is the last address in X-Forwarded-For that is not a trusted proxy. A proxy appends the
   * address it sees, so text that a client wrote comes before it.
   */
  clientAddress(connected: string, forwardedFor: string | undefined): string {
    if (forwardedFor === undefined || !this.includes(connected)) return connected;
    const hops = forwardedFor.split(',').map((hop) => hop.trim());
    for (const hop of hops.toReversed()) {
      if (isIP(hop) === 0) break;
      if (!this.includes(hop)) return hop;
    }
    return connected;
  }
}
