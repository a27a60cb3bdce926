import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { addressGroup } from '../../base/net/address-group.ts';
import type { TrustedProxies } from '../../base/server/trusted-proxies.ts';
import type { Peer } from '../authenticator.ts';

/** No client needs a longer chain. */
const maxChainLength = 5;

/**
 * The address of a request, and the certificates of its TLS handshake. Authenticators decide
 * whether to trust these.
 */
export function peerOf(
  { socket, headers }: IncomingMessage,
  trustedProxies: TrustedProxies | undefined,
): Peer {
  const { remoteAddress = '' } = socket;
  const forwardedFor = headers['x-forwarded-for'];
  const client = trustedProxies?.clientAddress(
    remoteAddress,
    Array.isArray(forwardedFor) ? forwardedFor.join(',') : forwardedFor,
  );
  const address = addressGroup(client ?? remoteAddress);
  if (!(socket instanceof TLSSocket)) return { address, certificates: [] };
  const certificates: Uint8Array[] = [];
  let at = socket.getPeerX509Certificate();
  while (at !== undefined && certificates.length < maxChainLength) {
    certificates.push(at.raw);
    at = at.issuerCertificate;
  }
  return { address, certificates };
}
