import { X509Certificate } from 'node:crypto';
import { pemBlocks, pemOf } from '../x509/pem-blocks.ts';
import { X509Error } from '../x509/reading.ts';

/**
 * The use for which the certificates of a CA file are trusted.
 *
 * - `servers`: a server's certificate must be in the file, or be issued by a certificate in the
 *   file. As in Go, every certificate in the file is a trust anchor.
 * - `clients`: the same for clients, but the file must hold only CA certificates. A client's own
 *   certificate would be a trust anchor too, and so would a server's certificate that was copied
 *   with its chain. Its key would then give access to everything.
 */
export type CaUse = 'servers' | 'clients';

/**
 * A CA file must hold at least one certificate. With an empty list, node:tls trusts its own list of
 * hundreds of public CAs.
 */
const nextStep = 'a CA file holds one or more certificates in PEM, and nothing else';

/**
 * Reads the text of a CA file, of a Secret's key or of a kubeconfig field. Node programs read such
 * texts only with this function.
 *
 * @returns the certificates as PEM, one after the other, without comments
 * @throws X509Error with the problem and the next step
 */
export function readCaCertificates(text: string, use: CaUse): string {
  try {
    return certificatesIn(text, use)
      .map(({ raw }) => pemOf('CERTIFICATE', raw))
      .join('');
  } catch (thrown) {
    if (!(thrown instanceof X509Error)) throw thrown;
    throw new X509Error(`${thrown.message}; ${nextStep}`);
  }
}

function certificatesIn(text: string, use: CaUse): readonly X509Certificate[] {
  const blocks = pemBlocks(text);
  if (blocks.length === 0) throw new X509Error('there is no certificate (PEM) in it');
  return blocks.map(({ label, line, der }) => {
    if (label !== 'CERTIFICATE') throw new X509Error(`line ${line} begins a ${label}`);
    let certificate: X509Certificate;
    try {
      certificate = new X509Certificate(der);
    } catch {
      throw new X509Error(`the CERTIFICATE that begins in line ${line} cannot be read`);
    }
    if (use === 'clients' && !certificate.ca) {
      const subject = JSON.stringify(certificate.subject.replaceAll('\n', ', '));
      throw new X509Error(
        `the certificate of ${subject} in line ${line} is not that of a CA (basic constraints), so it cannot vouch for clients`,
      );
    }
    return certificate;
  });
}
