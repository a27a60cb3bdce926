import { constants } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import { readCaCertificates } from './ca-certificates.ts';
import { pemBlocks, pemOf } from '../x509/pem-blocks.ts';

// All trust settings of node:tls, node:https and node:http2 are made in this file. These modules
// treat an empty `ca` as no setting, and then trust every public CA.

/** Options of node:tls. */
export interface ServerTrust {
  readonly ca: string[];
  /** As in Go, an intermediate CA can be trusted without its root. */
  readonly allowPartialTrustChain: true;
}

/** Options of node:tls. */
export interface ClientTrust {
  readonly ca: string[];
  readonly secureOptions: number;
}

/**
 * The trust settings of a client.
 *
 * @param cas PEM; each text must hold a certificate
 * @param besides `well-known`: the runtime's own CAs (with NODE_EXTRA_CA_CERTS) are trusted as well
 * @throws X509Error a text holds no certificate, or something else
 */
export function trustServersOf(
  cas: readonly [string, ...string[]],
  besides: 'well-known' | 'nothing',
): ServerTrust {
  const wellKnown = besides === 'well-known' ? getCACertificates('default') : [];
  const given = cas.map((pem) => readCaCertificates(pem, 'servers'));
  return { ca: [...wellKnown, ...given], allowPartialTrustChain: true };
}

/** X509_CERT_AUX of OpenSSL: SEQUENCE { SEQUENCE { id-kp-clientAuth } }. */
const trustedForClients = Uint8Array.from([
  0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
]);

/**
 * The trust settings of a server for client certificates. It accepts a certificate that one of
 * these CAs, root or intermediate, has issued.
 *
 * node:tls does not pass `allowPartialTrustChain` to servers. So each CA carries OpenSSL's own mark
 * that it is trusted for clients (openssl-x509(1), "Trust Options"). The mark makes the CA a trust
 * anchor for clients and for nothing else.
 *
 * Sessions are not resumed. OpenSSL stores its verdict on a client's certificate with the session,
 * so a client with a session ticket would be accepted after its certificate has expired.
 *
 * @param pem must hold certificates of CAs, at least one, and nothing else
 * @throws X509Error the text holds no certificate, or a certificate that is not a CA's
 */
export function trustClientsOf(pem: string): ClientTrust {
  const blocks = pemBlocks(readCaCertificates(pem, 'clients'));
  const ca = blocks.map(({ der }) =>
    pemOf('TRUSTED CERTIFICATE', Uint8Array.from([...der, ...trustedForClients])),
  );
  return { ca, secureOptions: constants.SSL_OP_NO_TICKET };
}
