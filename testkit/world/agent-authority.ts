import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentSubject } from '../../src/base/names/agent-subject.ts';
import {
  type Certificate,
  type DistinguishedName,
  importSigningKey,
  issueCertificate,
  type Purpose,
  publicKeyDerOf,
} from '../../src/base/x509/index.ts';

const dayMs = 24 * 3_600_000;

/** How keys are made and stored; `ec` is what a klusterlet does. */
export type KeyKind = 'ec' | 'p384' | 'rsa' | 'ed25519';

export interface AgentCertificateOptions {
  readonly cluster?: string;
  readonly subject?: Partial<DistinguishedName>;
  readonly purposes?: readonly Purpose[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly kind?: KeyKind;
}

export interface AgentCertificate {
  readonly certificate: Certificate;
  readonly certPem: string;
  /** PEM as OpenSSL, Go and others write it: SEC 1 for ECDSA, else PKCS#8. */
  readonly keyPem: string;
  readonly key: Awaited<ReturnType<typeof importSigningKey>>;
}

/** The CA of agents, as the add-on makes it, and what it issues. */
export class AgentAuthority {
  readonly certificate: Certificate;
  readonly #key: AgentCertificate['key'];

  private constructor(certificate: Certificate, key: AgentCertificate['key']) {
    this.certificate = certificate;
    this.#key = key;
  }

  get pem(): string {
    return this.certificate.pem;
  }

  static async create(commonName = 'agents', notAfter = tomorrow()): Promise<AgentAuthority> {
    const { key } = await makeKey('ec');
    const content = {
      subject: { commonName },
      publicKeyDer: await publicKeyDerOf(key),
      notBefore: dayBefore(notAfter),
      notAfter,
    };
    return new AgentAuthority(await issueCertificate(content, key), key);
  }

  /** By default one of an agent of `c1`. */
  async issue(options: AgentCertificateOptions = {}): Promise<AgentCertificate> {
    const {
      cluster = 'c1',
      kind = 'ec',
      purposes = ['clientAuth'],
      notAfter = tomorrow(),
    } = options;
    const { key, keyPem } = await makeKey(kind);
    const content = {
      subject: options.subject ?? agentSubject(cluster, 'proxy-agent'),
      publicKeyDer: await publicKeyDerOf(key),
      notBefore: options.notBefore ?? dayBefore(notAfter),
      notAfter,
      purposes,
    };
    const certificate = await issueCertificate(content, this.#key, this.certificate);
    return { certificate, certPem: certificate.pem, keyPem, key };
  }

  /** A directory as a klusterlet fills it. */
  async directory(path: string, options?: AgentCertificateOptions): Promise<string> {
    await mkdir(path, { recursive: true });
    await putCertificate(path, await this.issue(options));
    return path;
  }
}

export async function putCertificate(
  directory: string,
  { certPem, keyPem }: Pick<AgentCertificate, 'certPem' | 'keyPem'>,
): Promise<void> {
  await writeFile(join(directory, 'tls.crt'), certPem);
  await writeFile(join(directory, 'tls.key'), keyPem, { mode: 0o600 });
}

async function makeKey(kind: KeyKind): Promise<Pick<AgentCertificate, 'key' | 'keyPem'>> {
  const pem = pemOf(kind);
  const pkcs8 = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  return { key: await importSigningKey(pkcs8), keyPem: pem };
}

function pemOf(kind: KeyKind): string {
  if (kind === 'ec' || kind === 'p384') {
    const namedCurve = kind === 'ec' ? 'P-256' : 'P-384';
    const { privateKey } = generateKeyPairSync('ec', { namedCurve });
    return String(privateKey.export({ type: 'sec1', format: 'pem' }));
  }
  const { privateKey } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ed25519');
  return String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

function tomorrow(): Date {
  return new Date(Date.now() + dayMs);
}

function dayBefore(end: Date): Date {
  return new Date(Math.min(Date.now(), end.getTime()) - dayMs);
}
