import { constants } from 'node:crypto';
import { getCACertificates } from 'node:tls';
import { readCaCertificates } from './ca-certificates.ts';
import { pemBlocks, pemOf } from '../x509/pem-blocks.ts';

// Everything that node:tls, node:https and node:http2 are told about trust is made here, because they take an empty `ca` for none, and
// then trust every public CA.

/** Options of node:tls. */
export interface ServerTrust {
  readonly ca: string[];
  /** As in Go: an intermediate CA that is trusted is enough, its root need not be. */
  readonly allowPartialTrustChain: true;
}

/** Options of node:tls. */
export interface ClientTrust {
  readonly ca: string[];
  readonly secureOptions: number;
}

/**
 * What a client trusts.
 *
 * @param cas PEM; each must hold a certificate
 * @param besides `well-known`: the runtime's own CAs (with NODE_EXTRA_CA_CERTS) are trusted as well
 * @throws X509Error one holds no certificate, or something else
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
 * Whose client certificates a server takes: those that one of these CAs, root or intermediate, has issued.
 *
 * node:tls does not hand `allowPartialTrustChain` on to servers. So each CA carries OpenSSL's own mark that it is trusted for clients
 * (openssl-x509(1), "Trust Options"), which makes it an anchor for them and for nothing else.
 *
 * Sessions are not resumed: OpenSSL keeps the verdict on a client's certificate with its session, so who has a ticket would get in after the
 * certificate has expired.
 *
 * @param pem must hold a certificate, and only those of CAs
 * @throws X509Error it does not
 */
export function trustClientsOf(pem: string): ClientTrust {
  const blocks = pemBlocks(readCaCertificates(pem, 'clients'));
  const ca = blocks.map(({ der }) =>
    pemOf('TRUSTED CERTIFICATE', Uint8Array.from([...der, ...trustedForClients])),
  );
  return { ca, secureOptions: constants.SSL_OP_NO_TICKET };
}
