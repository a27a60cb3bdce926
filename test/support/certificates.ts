import {
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { der } from './der.ts';

const dayMs = 24 * 3600_000;

const oid = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};
const sanDnsName = 2;
const sanIpAddress = 7;

/** Paths of PEM files. */
export interface CertificateFiles {
  /** The CA that issued the certificate: what the other end trusts. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface IssueOptions {
  /** Name of the files and common name of the subject. */
  readonly name: string;
  readonly usage: 'server' | 'client';
  /** DNS names of a server (default: localhost). 127.0.0.1 is always among its addresses. */
  readonly dnsNames?: readonly string[];
  /** Default: tomorrow. A certificate that ended is valid from the day before its end. */
  readonly notAfter?: Date;
}

/** A CA whose key never leaves this process; what it issues is written to its directory. */
class TestAuthority {
  readonly caFile: string;
  readonly #name: string;
  readonly #directory: string;
  readonly #keys = generateKeys();

  private constructor(directory: string, name: string) {
    this.#name = name;
    this.#directory = directory;
    this.caFile = join(directory, `${name}.crt`);
  }

  static async create(directory: string, name: string): Promise<TestAuthority> {
    const authority = new TestAuthority(directory, name);
    const keyCertSignAndCrlSign = der.bitString(Buffer.of(0b0000_0110), 1);
    const certificate = authority.#sign(name, authority.#keys.publicKey, tomorrow(), [
      extension(oid.basicConstraints, der.sequence(der.boolean(true)), true),
      extension(oid.keyUsage, keyCertSignAndCrlSign, true),
    ]);
    await writeFile(authority.caFile, certificate);
    return authority;
  }

  async issue(options: IssueOptions): Promise<CertificateFiles> {
    const { name, usage, dnsNames = ['localhost'], notAfter = tomorrow() } = options;
    const keys = generateKeys();
    const names = [
      der.implicit(sanIpAddress, Buffer.of(127, 0, 0, 1)),
      ...dnsNames.map((dnsName) => der.implicit(sanDnsName, Buffer.from(dnsName))),
    ];
    const purpose = usage === 'server' ? oid.serverAuth : oid.clientAuth;
    const digitalSignature = der.bitString(Buffer.of(0b1000_0000), 7);
    const extensions = [
      extension(oid.basicConstraints, der.sequence(), true),
      extension(oid.keyUsage, digitalSignature, true),
      extension(oid.extendedKeyUsage, der.sequence(der.objectId(purpose))),
    ];
    if (usage === 'server') {
      extensions.push(extension(oid.subjectAlternativeName, der.sequence(...names)));
    }

    const files = {
      ca: this.caFile,
      cert: join(this.#directory, `${name}.crt`),
      key: join(this.#directory, `${name}.key`),
    };
    await writeFile(files.cert, this.#sign(name, keys.publicKey, notAfter, extensions));
    const key = keys.privateKey.export({ type: 'pkcs8', format: 'pem' });
    await writeFile(files.key, key, { mode: 0o600 });
    return files;
  }

  /** A certificate for `subject` in PEM, signed by this CA. */
  #sign(
    subject: string,
    publicKey: KeyObject,
    notAfter: Date,
    extensions: readonly Buffer[],
  ): string {
    const algorithm = der.sequence(der.objectId(oid.ecdsaWithSha256));
    const notBefore = new Date(Math.min(Date.now(), notAfter.getTime()) - dayMs);
    const version3 = der.explicit(0, der.integer(Buffer.of(2)));
    const body = der.sequence(
      version3,
      // A leading byte between 0x01 and 0x7f keeps the number positive and in its shortest form.
      der.integer(Buffer.concat([Buffer.of(0x01), randomBytes(15)])),
      algorithm,
      distinguishedName(this.#name),
      der.sequence(der.utcTime(notBefore), der.utcTime(notAfter)),
      distinguishedName(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      der.explicit(3, der.sequence(...extensions)),
    );
    const signature = der.bitString(sign('sha256', body, this.#keys.privateKey));
    return pem(der.sequence(body, algorithm, signature));
  }
}

/** Certificates of the usual cast, each role under a CA of its own, in a directory that goes when the scope ends. */
export interface TestCertificates extends AsyncDisposable {
  readonly directory: string;
  /** A server on 127.0.0.1 and localhost. */
  readonly server: CertificateFiles;
  /** A konnectivity client. */
  readonly client: CertificateFiles;
  /** An agent: its certificate must not open what is for clients. */
  readonly agent: CertificateFiles;
  /** A client of a CA that nobody trusts. */
  readonly stranger: CertificateFiles;
  /** The CA of `server`, to issue more. */
  readonly serverAuthority: TestAuthority;
  /** The CA of `client`, to issue more. */
  readonly clientAuthority: TestAuthority;
}

export async function makeTestCertificates(): Promise<TestCertificates> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-certificates-'));
  const serverAuthority = await TestAuthority.create(directory, 'server-ca');
  const clientAuthority = await TestAuthority.create(directory, 'client-ca');
  const agents = await TestAuthority.create(directory, 'agent-ca');
  const strangers = await TestAuthority.create(directory, 'stranger-ca');
  return {
    directory,
    server: await serverAuthority.issue({ name: 'server', usage: 'server' }),
    client: await clientAuthority.issue({ name: 'client', usage: 'client' }),
    agent: await agents.issue({ name: 'agent', usage: 'client' }),
    stranger: await strangers.issue({ name: 'stranger', usage: 'client' }),
    serverAuthority,
    clientAuthority,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

function generateKeys(): KeyPairKeyObjectResult {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  const flag = critical ? [der.boolean(true)] : [];
  return der.sequence(der.objectId(id), ...flag, der.octetString(value));
}

function distinguishedName(commonName: string): Buffer {
  const attribute = der.sequence(der.objectId(oid.commonName), der.utf8String(commonName));
  return der.sequence(der.set(attribute));
}

function tomorrow(): Date {
  return new Date(Date.now() + dayMs);
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd();
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}
