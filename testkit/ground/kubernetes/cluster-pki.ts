import 'reflect-metadata';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
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
} from '@peculiar/x509';

const dayMs = 24 * 3600_000;
const lifetimeMs = 30 * dayMs;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

type PrivateKey = Awaited<ReturnType<typeof generateKeys>>['privateKey'];

/** Paths of PEM files. */
export interface KeyPairFiles {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  /** The name of the files. */
  readonly name: string;
  readonly user: string;
  readonly groups?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
}

/** The CA of one cluster and its certificates, as files. kube-controller-manager reads the key. */
export class ClusterPki {
  readonly directory: string;
  readonly ca: KeyPairFiles;
  /** Signs ServiceAccount tokens. */
  readonly serviceAccounts: { readonly privateKey: string; readonly publicKey: string };
  readonly #name: string;
  readonly #caKey: PrivateKey;

  private constructor(directory: string, name: string, caKey: PrivateKey) {
    this.directory = directory;
    this.ca = { cert: join(directory, 'ca.crt'), key: join(directory, 'ca.key') };
    this.serviceAccounts = {
      privateKey: join(directory, 'sa.key'),
      publicKey: join(directory, 'sa.pub'),
    };
    this.#name = name;
    this.#caKey = caKey;
  }

  static async create(directory: string, name: string): Promise<ClusterPki> {
    await mkdir(directory, { recursive: true });
    const keys = await generateKeys();
    const pki = new ClusterPki(directory, name, keys.privateKey);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      ...validity(),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(
          KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature,
          true,
        ),
      ],
    });
    await writeFile(pki.ca.cert, certificate.toString('pem'));
    await writePrivateKey(pki.ca.key, keys.privateKey);

    const { privateKey, publicKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      privateKeyEncoding: { type: 'sec1', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    });
    await writeFile(pki.serviceAccounts.privateKey, privateKey, { mode: 0o600 });
    await writeFile(pki.serviceAccounts.publicKey, publicKey);
    return pki;
  }

  /** Opens the CA that `create` made in this directory. */
  static async open(directory: string, name: string): Promise<ClusterPki> {
    const pem = await readFile(join(directory, 'ca.key'), 'utf8');
    const [der] = PemConverter.decode(pem);
    if (der === undefined) throw new Error(`${directory}/ca.key holds no key`);
    const key = await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
    return new ClusterPki(directory, name, key);
  }

  /** A certificate of `user` in `groups`. With names or addresses, it is a server's, too. */
  async issue(request: CertificateRequest): Promise<KeyPairFiles> {
    const { name, user, groups = [], dnsNames = [], ipAddresses = [] } = request;
    const keys = await generateKeys();
    const names = [
      ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
      ...ipAddresses.map((value) => ({ type: 'ip' as const, value })),
    ];
    const certificate = await X509CertificateGenerator.create({
      subject: [{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))],
      issuer: `CN=${this.#name}`,
      ...validity(),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#caKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
      ],
    });
    const files = {
      cert: join(this.directory, `${name}.crt`),
      key: join(this.directory, `${name}.key`),
    };
    await writeFile(files.cert, certificate.toString('pem'));
    await writePrivateKey(files.key, keys.privateKey);
    return files;
  }
}

function generateKeys() {
  return crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

function validity() {
  const now = Date.now();
  return { notBefore: new Date(now - dayMs), notAfter: new Date(now + lifetimeMs) };
}

async function writePrivateKey(path: string, key: PrivateKey): Promise<void> {
  const der = await crypto.subtle.exportKey('pkcs8', key);
  await writeFile(path, PemConverter.encode(der, 'PRIVATE KEY'), { mode: 0o600 });
}
