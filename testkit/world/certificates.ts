import 'reflect-metadata';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type Extension,
} from '@peculiar/x509';

const dayMs = 24 * 3600_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Paths of PEM files. */
export interface CertificateFiles {
  /** The CA that issued the certificate: what the other end trusts. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface IssueOptions {
  /** Name of the files. */
  readonly name: string;
  /** `CN=...,O=...` (default: the common name is `name`). */
  readonly subject?: string;
  readonly usage: 'server' | 'client';
  /** DNS names of a server (default: localhost). 127.0.0.1 is always among its addresses. */
  readonly dnsNames?: readonly string[];
  /** More IP addresses of a server. */
  readonly addresses?: readonly string[];
  /** Default: tomorrow. A certificate that ended is valid from the day before its end. */
  readonly notAfter?: Date;
}

/** A CA whose key never leaves this process. It writes its certificates to its directory. */
class TestAuthority {
  readonly caFile: string;
  readonly #name: string;
  readonly #directory: string;
  readonly #keys: CryptoKeyPair;

  private constructor(directory: string, name: string, keys: CryptoKeyPair) {
    this.#name = name;
    this.#directory = directory;
    this.#keys = keys;
    this.caFile = join(directory, `${name}.crt`);
  }

  static async create(directory: string, name: string): Promise<TestAuthority> {
    const authority = new TestAuthority(directory, name, await generateKeys());
    const certificate = await authority.#sign(`CN=${name}`, authority.#keys.publicKey, tomorrow(), [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ]);
    await writeFile(authority.caFile, certificate);
    return authority;
  }

  /** An intermediate CA below this one. */
  async createIntermediate(name: string): Promise<TestAuthority> {
    const authority = new TestAuthority(this.#directory, name, await generateKeys());
    const certificate = await this.#sign(`CN=${name}`, authority.#keys.publicKey, tomorrow(), [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ]);
    await writeFile(authority.caFile, certificate);
    return authority;
  }

  async issue(options: IssueOptions): Promise<CertificateFiles> {
    const { name, usage, dnsNames = ['localhost'], notAfter = tomorrow() } = options;
    const { subject = `CN=${name}`, addresses = [] } = options;
    const keys = await generateKeys();
    const purpose = usage === 'server' ? ExtendedKeyUsage.serverAuth : ExtendedKeyUsage.clientAuth;
    const names = [
      ...['127.0.0.1', ...addresses].map((value) => ({ type: 'ip' as const, value })),
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
    ];
    const certificate = await this.#sign(subject, keys.publicKey, notAfter, [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([purpose]),
      ...(usage === 'server' ? [new SubjectAlternativeNameExtension(names)] : []),
    ]);
    const files = {
      ca: this.caFile,
      cert: join(this.#directory, `${name}.crt`),
      key: join(this.#directory, `${name}.key`),
    };
    const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    await writeFile(files.cert, certificate);
    await writeFile(files.key, PemConverter.encode(key, 'PRIVATE KEY'), { mode: 0o600 });
    return files;
  }

  /** A certificate for `subject` in PEM, signed by this CA. */
  async #sign(
    subject: string,
    publicKey: CryptoKeyPair['publicKey'],
    notAfter: Date,
    extensions: Extension[],
  ): Promise<string> {
    const certificate = await X509CertificateGenerator.create({
      subject,
      issuer: `CN=${this.#name}`,
      notBefore: new Date(Math.min(Date.now(), notAfter.getTime()) - dayMs),
      notAfter,
      signingAlgorithm: algorithm,
      publicKey,
      signingKey: this.#keys.privateKey,
      extensions,
    });
    return certificate.toString('pem');
  }
}

type CryptoKeyPair = Awaited<ReturnType<typeof generateKeys>>;

/** Certificates of the usual roles, each of its own CA, in a temporary directory. */
export interface TestCertificates extends AsyncDisposable {
  readonly directory: string;
  /** A server on 127.0.0.1 and localhost. */
  readonly server: CertificateFiles;
  /** A konnectivity client. */
  readonly client: CertificateFiles;
  /** An agent. Its certificate must not work for clients. */
  readonly agent: CertificateFiles;
  /** A client of an untrusted CA. */
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

function generateKeys() {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

function tomorrow(): Date {
  return new Date(Date.now() + dayMs);
}
