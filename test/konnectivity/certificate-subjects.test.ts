import type { TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { CertificateSubjects } from '../../src/konnectivity/certificate-subjects.ts';

/** A connection whose client has shown a certificate. Counts how often its subject is read. */
function clientOf(name: string, reads: string[]): TLSSocket {
  const certificate = {
    fingerprint256: `fingerprint of ${name}`,
    serialNumber: '0A',
    issuer: 'O=example\nCN=people',
    validToDate: new Date(0),
  };
  return {
    getPeerX509Certificate: () => certificate,
    getPeerCertificate: () => {
      reads.push(name);
      return { subject: { CN: name } };
    },
  } as unknown as TLSSocket;
}

it('The subject of a certificate is read once for any number of connections', () => {
  const reads: string[] = [];
  const subjects = new CertificateSubjects();
  const clients = ['alice', 'alice', 'bob', 'alice', 'bob', 'bob'];
  const names = clients.map((name) => subjects.of(clientOf(name, reads))?.commonNames[0]);
  expect(names).toEqual(clients);
  expect(reads).toEqual(['alice', 'bob']);
});

it('The certificate that was unused for longest is forgotten first', () => {
  const reads: string[] = [];
  const subjects = new CertificateSubjects();
  subjects.of(clientOf('alice', reads));
  for (let at = 0; at < 999; at++) subjects.of(clientOf(`client ${at}`, reads));
  subjects.of(clientOf('alice', reads));
  subjects.of(clientOf('newcomer', reads));
  reads.length = 0;
  for (const name of ['alice', 'client 1', 'client 0']) subjects.of(clientOf(name, reads));
  expect(reads).toEqual(['client 0']);
});
