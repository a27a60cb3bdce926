import { clusterOfSubject } from '../base/names/agent-subject.ts';
import type { ProvenCertificate } from '../base/tokens/certificate-token.ts';
import { Certificate, parseCertificates, X509Error } from '../base/x509/index.ts';

/** Why a certificate is not accepted. docs/errors.md explains each code. */
export const agentCertificateErrorCodes = [
  'malformed',
  'unknown_ca',
  'expired',
  'not_yet_valid',
  'wrong_purpose',
  'no_cluster',
] as const;
export type AgentCertificateErrorCode = (typeof agentCertificateErrorCodes)[number];

export class AgentCertificateError extends Error {
  override readonly name = 'AgentCertificateError';
  readonly code: AgentCertificateErrorCode;

  constructor(code: AgentCertificateErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export interface AgentCertificatesOptions {
  readonly onlyCluster?: string | undefined;
  readonly now?: () => Date;
}

const clockToleranceMs = 30_000;
const maxShownCharacters = 120;

/**
 * Tells which cluster a certificate speaks for. Its CAs sign certificates of agents and nothing
 * else.
 */
export class AgentCertificates {
  readonly #authorities: readonly Certificate[];
  readonly #onlyCluster: string | undefined;
  readonly #now: () => Date;

  private constructor(
    authorities: readonly Certificate[],
    onlyCluster: string | undefined,
    now: () => Date,
  ) {
    this.#authorities = authorities;
    this.#onlyCluster = onlyCluster;
    this.#now = now;
  }

  /**
   * Accepts certificates of all CAs in the bundle, so that a new CA can be introduced before the
   * old one is removed.
   *
   * @param onlyCluster the cluster of every certificate, whatever its subject; undefined: the
   *   subject names the cluster
   * @throws X509Error the bundle has no certificate, or has one that cannot be read or is not a
   *   CA's
   */
  static fromPem(
    bundle: string,
    { onlyCluster, now = () => new Date() }: AgentCertificatesOptions = {},
  ): AgentCertificates {
    const authorities = parseCertificates(bundle);
    const other = authorities.find(({ isAuthority }) => !isAuthority);
    if (other !== undefined) {
      throw new X509Error(`the certificate of ${nameOf(other)} is not that of a CA`);
    }
    return new AgentCertificates(authorities, onlyCluster, now);
  }

  /**
   * Verifies a certificate. Only the first of the chain counts, and a CA itself must have issued
   * it.
   *
   * @param chain DER
   * @throws AgentCertificateError why the certificate is not accepted
   */
  async prove(chain: readonly Uint8Array[]): Promise<ProvenCertificate> {
    const leaf = read(chain[0]);
    const authority = await this.#authorityOf(leaf);
    if (authority === undefined) {
      throw new AgentCertificateError(
        'unknown_ca',
        `no CA that signs for agents has issued it (${nameOf(leaf)})`,
      );
    }
    this.#checkTime(leaf, 'it');
    this.#checkTime(authority, 'its CA');
    if (leaf.isAuthority || !leaf.purposes.includes('clientAuth')) {
      throw new AgentCertificateError('wrong_purpose', `it is not for clients (${nameOf(leaf)})`);
    }
    const cluster = this.#onlyCluster ?? clusterOfSubject(leaf.subject);
    if (cluster !== undefined) return { publicKeyDer: leaf.publicKeyDer, cluster };
    throw new AgentCertificateError(
      'no_cluster',
      `it names no cluster, or several (${nameOf(leaf)})`,
    );
  }

  async #authorityOf(leaf: Certificate): Promise<Certificate | undefined> {
    for (const authority of this.#authorities) {
      if (await leaf.isIssuedBy(authority)) return authority;
    }
    return undefined;
  }

  #checkTime({ notBefore, notAfter }: Certificate, what: string): void {
    const nowMs = this.#now().getTime();
    if (notAfter.getTime() + clockToleranceMs < nowMs) {
      const at = notAfter.toISOString();
      throw new AgentCertificateError('expired', `${what} expired at ${at}`);
    }
    if (notBefore.getTime() - clockToleranceMs > nowMs) {
      const at = notBefore.toISOString();
      throw new AgentCertificateError(
        'not_yet_valid',
        `${what} is valid from ${at} on, compare the clocks`,
      );
    }
  }
}

/** Limits the length of the name, because a stranger chose it and it is logged. */
function nameOf({ subject: { commonName } }: Certificate): string {
  const shown =
    commonName.length <= maxShownCharacters
      ? commonName
      : `${commonName.slice(0, maxShownCharacters)}…`;
  return commonName === '' ? 'without a name' : JSON.stringify(shown);
}

function read(der: Uint8Array | undefined): Certificate {
  try {
    if (der !== undefined) return new Certificate(der);
  } catch (thrown) {
    if (!(thrown instanceof X509Error)) throw thrown;
  }
  throw new AgentCertificateError('malformed', 'what was shown is no certificate');
}
