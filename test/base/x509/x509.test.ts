import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import {
  Certificate,
  CertificateRequest,
  generateKeys,
  importSigningKey,
  issueCertificate,
  makeCertificateRequest,
  parseCertificates,
  publicKeyDerOf,
  X509Error,
} from '../../../src/base/x509/index.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';

const run = promisify(execFile);
const hourMs = 3_600_000;
const [notBefore, notAfter] = [new Date(Date.now() - hourMs), new Date(Date.now() + hourMs)];
const openssl = await run('openssl', ['version']).catch(() => ({
  missing: 'openssl',
  reason: 'not on the PATH',
}));
const directory = await mkdtemp(join(tmpdir(), 'culvert-x509-'));
afterAll(() => rm(directory, { recursive: true }));

async function put(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

async function authority(commonName: string, kind: 'rsa' | 'ecdsa' = 'ecdsa') {
  const { privateKey } = await generateKeys(kind);
  const publicKeyDer = await publicKeyDerOf(privateKey);
  const content = { subject: { commonName }, publicKeyDer, notBefore, notAfter };
  return { key: privateKey, certificate: await issueCertificate(content, privateKey) };
}

async function leafContent(names: { readonly dns: string[]; readonly ips: string[] }) {
  const { privateKey } = await generateKeys('ecdsa');
  return {
    subject: { commonName: 'a leaf', organizations: ['one', 'two'], organizationalUnits: ['unit'] },
    publicKeyDer: await publicKeyDerOf(privateKey),
    notBefore,
    notAfter,
    purposes: ['serverAuth', 'clientAuth'] as const,
    alternativeNames: names,
  };
}

describeWith({ openssl }, 'OpenSSL', () => {
  it.each(['rsa', 'ecdsa'] as const)(
    'OpenSSL accepts a certificate of a CA with %s for its purposes',
    async (kind) => {
      const ca = await authority('test-ca', kind);
      const names = { dns: ['localhost', '127.0.0.1'], ips: ['127.0.0.1', '2001:db8::1'] };
      const leaf = await issueCertificate(await leafContent(names), ca.key, ca.certificate);
      const files = [await put('ca.pem', ca.certificate.pem), await put('leaf.pem', leaf.pem)];
      const verified = await run('openssl', ['verify', '-CAfile', ...files]);
      expect(verified.stdout).toContain('OK');
      const { stdout } = await run('openssl', ['x509', '-in', files[1]!, '-noout', '-text']);
      expect(stdout).toContain('Subject: O = one, O = two, OU = unit, CN = a leaf');
      expect(stdout).toContain('CA:FALSE');
      expect(stdout).toContain('Digital Signature, Key Encipherment');
      expect(stdout).toContain('TLS Web Server Authentication, TLS Web Client Authentication');
      expect(stdout).toMatch(/DNS:localhost, DNS:127.0.0.1, IP Address:127.0.0.1, IP Address:2001/);
      const keyIdOf = (text: string, which: string) =>
        new RegExp(`${which} Key Identifier: \\s+(?:keyid:)?([0-9A-F:]+)`).exec(text)?.[1];
      const caText = await run('openssl', ['x509', '-in', files[0]!, '-noout', '-text']);
      expect(keyIdOf(stdout, 'Authority')).toBe(keyIdOf(caText.stdout, 'Subject'));
      expect(caText.stdout).toMatch(/CA:TRUE[^]*Certificate Sign/);
    },
  );

  // Go writes several values into one relative name.
  it.each([
    [
      'values side by side',
      '/O=one+O=two/CN=x',
      { organizations: ['one', 'two'], commonName: 'x' },
    ],
    ['two common names', '/CN=x/CN=y', { organizations: [], commonName: '' }],
    [
      'quotes, commas and escapes as they are',
      '/O="a", b\\\\/CN=#0413 "x" <y>; z=1',
      { organizations: ['"a", b\\'], commonName: '#0413 "x" <y>; z=1' },
    ],
  ])('CertificateRequest reads a request of OpenSSL with %s', async (_, subj, expected) => {
    const key = join(directory, 'key.pem');
    const args = ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const { stdout } = await run('openssl', [...args, '-keyout', key, '-subj', subj]);
    const request = new CertificateRequest(stdout);
    expect(request.subject).toEqual({ ...expected, organizationalUnits: [] });
    expect(await request.isProven()).toBe(true);
  });
});

describe('issueCertificate', () => {
  it('An issued certificate holds the requested names, purposes and dates', async () => {
    const ca = await authority('test-ca');
    const names = { dns: ['a.example'], ips: ['10.0.0.1'] };
    const made = await issueCertificate(await leafContent(names), ca.key, ca.certificate);
    const leaf = new Certificate(made.der);
    expect(leaf.subject).toEqual({
      commonName: 'a leaf',
      organizations: ['one', 'two'],
      organizationalUnits: ['unit'],
    });
    expect(leaf.alternativeNames).toEqual({ ...names, others: [] });
    expect(leaf.purposes).toEqual(['serverAuth', 'clientAuth']);
    expect([leaf.isAuthority, ca.certificate.isAuthority]).toEqual([false, true]);
    // Certificates have times in whole seconds.
    expect(Math.abs(leaf.notAfter.getTime() - notAfter.getTime())).toBeLessThan(1000);
  });

  it('The issuer of a certificate is recognised by its name and the signature together', async () => {
    const [ca, namesake] = [await authority('one-name'), await authority('one-name')];
    const leaf = await issueCertificate(
      await leafContent({ dns: [], ips: [] }),
      ca.key,
      ca.certificate,
    );
    expect(await leaf.isIssuedBy(ca.certificate)).toBe(true);
    expect(await leaf.isIssuedBy(namesake.certificate)).toBe(false);
    // The same key under another name.
    const content = {
      subject: { commonName: 'another-name' },
      publicKeyDer: await publicKeyDerOf(ca.key),
      notBefore,
      notAfter,
    };
    expect(await leaf.isIssuedBy(await issueCertificate(content, ca.key))).toBe(false);
    // A key of another kind.
    const rsa = await authority('one-name', 'rsa');
    expect(await leaf.isIssuedBy(rsa.certificate)).toBe(false);
  });
});

describe('parseCertificates', () => {
  it('parseCertificates reads all certificates of a bundle and skips other blocks', async () => {
    const [one, two] = [await authority('one'), await authority('two')];
    const pem = `# a comment\n${one.certificate.pem}\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n${two.certificate.pem}`;
    expect(parseCertificates(pem).map(({ title }) => title)).toEqual(['CN=one', 'CN=two']);
  });

  it.each([
    ['nothing', ''],
    ['text', 'garbage'],
    [
      'a block that is no certificate',
      '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----',
    ],
    ['a block that is cut off', '-----BEGIN CERTIFICATE-----\nMIIB'],
  ])('parseCertificates refuses %s', (_, pem) => {
    expect(() => parseCertificates(pem)).toThrow(X509Error);
  });
});

describe('CertificateRequest', () => {
  const subject = { commonName: 'system:agent', organizations: ['g1', 'g2'] };

  it('A certificate request tells what it asks for, and proves possession of the key', async () => {
    const keys = await generateKeys('ecdsa');
    const pem = await makeCertificateRequest(subject, keys, ['x.example']);
    const request = new CertificateRequest(pem);
    expect(request.subject).toEqual({ ...subject, organizationalUnits: [] });
    expect(request.alternativeNames).toEqual({ dns: ['x.example'], ips: [], others: [] });
    expect(await request.isProven()).toBe(true);
    expect(Buffer.from(request.publicKeyDer)).toEqual(
      Buffer.from(await publicKeyDerOf(keys.privateKey)),
    );
  });

  it('A certificate request proves nothing when its content was changed', async () => {
    const pem = await makeCertificateRequest(subject, await generateKeys('ecdsa'));
    const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
    const at = der.indexOf('system:agent');
    der.write('system:admin', at);
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    const request = new CertificateRequest(forged);
    expect(request.subject.commonName).toBe('system:admin');
    expect(await request.isProven()).toBe(false);
  });

  it('The certificate for a request has the same subject, to the byte', async () => {
    const ca = await authority('ca');
    const keys = await generateKeys('ecdsa');
    const request = new CertificateRequest(await makeCertificateRequest(subject, keys));
    const { subjectDer, publicKeyDer } = request;
    const content = { subject: subjectDer, publicKeyDer, notBefore, notAfter, purposes: [] };
    const leaf = await issueCertificate(content, ca.key, ca.certificate);
    expect(leaf.subject).toEqual(request.subject);
    expect(Buffer.from(leaf.der).includes(Buffer.from(subjectDer))).toBe(true);
  });

  it.each(['', 'garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
    'CertificateRequest refuses %j',
    (text) => {
      expect(() => new CertificateRequest(text)).toThrow(X509Error);
    },
  );
});

it('importSigningKey refuses bytes that are not a key, and does not repeat them', async () => {
  const key = new TextEncoder().encode('my secret text');
  await expect(importSigningKey(key)).rejects.toThrow(
    /^not a private key of RSA, ECDSA or Ed25519/,
  );
});
