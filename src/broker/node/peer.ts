import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Peer, unknownPeer } from '../authenticator.ts';

/** More certificates than this nobody needs to show. */
const maxChainLength = 5;

/** What the TLS handshake of a connection proves; whether to trust it is for authenticators. */
export function peerOf(socket: Duplex): Peer {
  if (!(socket instanceof TLSSocket)) return unknownPeer;
  const certificates: Uint8Array[] = [];
  let at = socket.getPeerX509Certificate();
  while (at !== undefined && certificates.length < maxChainLength) {
    certificates.push(at.raw);
    at = at.issuerCertificate;
  }
  return { certificates };
}
