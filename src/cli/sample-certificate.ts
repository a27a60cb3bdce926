import {
  exportKeyPem,
  generateKeys,
  issueCertificate,
  publicKeyDerOf,
} from '../base/x509/index.ts';

/** A certificate of a server on loopback, in PEM, and the CA that issued it. */
export interface SampleCertificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const hourMs = 3_600_000;

/** Issues a certificate for `address`, by a CA that nothing else uses and that nobody keeps. */
export async function sampleCertificate(address: string): Promise<SampleCertificate> {
  const nowMs = Date.now();
  // `culvert dev` may run for days.
  const validity = {
    notBefore: new Date(nowMs - hourMs),
    notAfter: new Date(nowMs + 8760 * hourMs),
  };
  const [authority, server] = await Promise.all([generateKeys('ecdsa'), generateKeys('ecdsa')]);
  const ca = await issueCertificate(
    {
      ...validity,
      subject: { commonName: 'culvert sample CA' },
      publicKeyDer: await publicKeyDerOf(authority.privateKey),
    },
    authority.privateKey,
  );
  const leaf = await issueCertificate(
    {
      ...validity,
      subject: { commonName: 'culvert sample server' },
      publicKeyDer: await publicKeyDerOf(server.privateKey),
      purposes: ['serverAuth'],
      alternativeNames: { dns: [], ips: [address] },
    },
    authority.privateKey,
    ca,
  );
  return { ca: ca.pem, cert: leaf.pem, key: await exportKeyPem(server.privateKey) };
}
