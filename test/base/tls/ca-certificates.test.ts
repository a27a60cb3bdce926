import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCaCertificates } from '../../../src/base/tls/ca-certificates.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';

let certificates: TestCertificates;
let root: string;
let intermediate: string;
let leaf: string;
let key: string;
beforeAll(async () => {
  certificates = await makeTestCertificates();
  const { serverAuthority, server } = certificates;
  const below = await serverAuthority.createIntermediate('intermediate');
  [root, intermediate, leaf, key] = (await Promise.all(
    [server.ca, below.caFile, server.cert, server.key].map((path) => readFile(path, 'utf8')),
  )) as [string, string, string, string];
});
afterAll(() => certificates[Symbol.asyncDispose]());

/** The common names of the certificates, in order. */
function namesIn(pem: string): readonly string[] {
  return parseCertificates(pem).map(({ subject }) => subject.commonName);
}

describe('readCaCertificates', () => {
  it.each<[string, () => string]>([
    [
      'comments around the certificates',
      () => `# one\n${root}\ntext ----- of openssl\n${intermediate}\n# end`,
    ],
    ['CRLF', () => `${root}\n${intermediate}`.replaceAll('\n', '\r\n')],
    ['a byte order mark', () => `\uFEFF${root}\n${intermediate}`],
    [
      'a byte order mark in the middle, from files that were joined',
      () => `${root}\n\uFEFF${intermediate}`,
    ],
    ['no line feed between two blocks', () => root.trim() + intermediate.trim()],
    ['white space around lines', () => `${root}\n${intermediate}`.replaceAll('\n', ' \t\n  ')],
    [
      'base64 in one line',
      () => `${root}\n${intermediate}`.replace(/(?<=[\w+/=])\n(?=[\w+/=])/g, ''),
    ],
  ])('A CA file may have %s', (_, text) => {
    const read = readCaCertificates(text(), 'servers');
    expect(namesIn(read)).toEqual(['server-ca', 'intermediate']);
    // OpenSSL receives the certificates only, and no other text of the file.
    expect(read).toBe(readCaCertificates(read, 'servers'));
    expect(read).toMatch(
      /^(-----BEGIN CERTIFICATE-----\n[\w+/=\n]+-----END CERTIFICATE-----\n){2}$/,
    );
  });

  it.each<[string, () => string, RegExp]>([
    ['nothing', () => '', /^it is empty; a CA file holds one or more certificates in PEM/],
    ['white space', () => '\uFEFF \r\n\t\n', /^it is empty/],
    ['text', () => 'no certificate here\n', /^there is no certificate \(PEM\) in it/],
    ['DER', () => new X509Certificate(root).raw.toString('utf8'), /^it is binary \(DER\); convert/],
    [
      'DER, read as Latin-1',
      () => new X509Certificate(root).raw.toString('latin1'),
      /^it is binary \(DER\)/,
    ],
    ['UTF-16', () => Buffer.from(root, 'utf16le').toString('utf8'), /^it is binary or UTF-16/],
    ['a private key', () => key, /^line 1 begins a PRIVATE KEY/],
    ['a certificate and a private key', () => `${root}\n${key}`, /^line \d+ begins a PRIVATE KEY/],
    [
      'a certificate request',
      () => root.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST'),
      /CERTIFICATE REQUEST/,
    ],
    [
      'a block without an end',
      () => root.slice(0, 300),
      /^the CERTIFICATE that begins in line 1 is cut off/,
    ],
    [
      'a block without an end before another',
      () => `${root.slice(0, 300)}\n${root}`,
      /^the CERTIFICATE that begins in line 1 is cut off/,
    ],
    [
      'a second block without an end',
      () => `${root}\n${root.slice(0, 300)}`,
      /^the CERTIFICATE that begins in line \d+ is cut off/,
    ],
    ['an end without a beginning', () => root.slice(30), /ends a CERTIFICATE that does not begin/],
    ['half a BEGIN line', () => root.slice(3), /^line 1 is not a complete BEGIN or END line/],
    ['half an END line', () => root.trim().slice(0, -3), /is not a complete BEGIN or END line/],
    [
      'a block that lost characters',
      () => root.replace(/(?<=\n)\w(?=[\w+/]{10})/, ''),
      /damaged: it is not base64/,
    ],
    [
      'a block that lost a line',
      () => root.replace(/\n[\w+/]{64}(?=\n)/, ''),
      /begins in line 1 cannot be read/,
    ],
    ['an empty block', () => '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n', /damaged/],
  ])('A CA file is refused when it holds %s', (_, text, reason) => {
    for (const use of ['servers', 'clients'] as const) {
      expect(() => readCaCertificates(text(), use)).toThrow(reason);
    }
  });

  it('A CA file for servers may hold the certificate of a server, which is then trusted directly', () => {
    expect(namesIn(readCaCertificates(leaf, 'servers'))).toEqual(['server']);
  });

  it("A CA file for clients is refused when it holds a certificate that is not a CA's", () => {
    const chain = `${root}\n${leaf}`;
    expect(() => readCaCertificates(chain, 'clients')).toThrow(
      /^the certificate of "CN=server" in line \d+ is not that of a CA \(basic constraints\), so it cannot vouch for clients/,
    );
  });
});
