import { X509Certificate } from 'node:crypto';
import { pemBlocks, pemOf } from '../x509/pem-blocks.ts';
import { X509Error } from '../x509/reading.ts';

/**
 * What the certificates of a CA file are trusted for.
 *
 * - `servers`: a server's certificate must be issued by one of them, or be one of them (as in Go: whoever is in the pool is an anchor).
 * - `clients`: the same for clients, but each must be a CA's. A client's own certificate in the file would be an anchor too, and so would a
 *   server's that was copied there with its chain: its key would open everything.
 */
export type CaUse = 'servers' | 'clients';

/** One CA certificate at least is needed: an empty list makes node:tls trust its own, which hundreds of public CAs are in. */
const nextStep = 'a CA file holds one or more certificates in PEM, and nothing else';

/**
 * Reads the text of a CA file, of a Secret's key or of a field of a kubeconfig. This is the only reader of such texts in Node programs.
 *
 * @returns the certificates as PEM, one after the other, without comments
 * @throws X509Error what is wrong with it, and the next step
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
