import {
  CertificateTokenError,
  credentialHeader,
  verifyCertificateToken,
} from '../base/tokens/certificate-token.ts';
import { AgentCertificateError, type AgentCertificates } from './agent-certificates.ts';
import {
  AuthenticationError,
  type Authenticator,
  bearerToken,
  type Identity,
  type Peer,
} from './authenticator.ts';

/**
 * Authenticates agents by the certificate of their registration. An agent shows the certificate in
 * the TLS handshake. Where TLS ends in front of the broker, it sends a token that is signed with
 * the certificate's key. A request with neither goes to the next authenticator.
 */
export class CertificateAuthenticator implements Authenticator {
  readonly #certificates: () => AgentCertificates;
  readonly #next: Authenticator;

  /** @param certificates returns the current CAs, which may change while the broker runs */
  constructor(certificates: () => AgentCertificates, next: Authenticator) {
    this.#certificates = certificates;
    this.#next = next;
  }

  async authenticate(headers: Headers, peer: Peer): Promise<Identity> {
    const token = bearerToken(headers.get(credentialHeader));
    // Other tokens, such as those of ServiceAccounts, carry no certificate.
    const carriesCertificate = token !== undefined && hasCertificate(token);
    if (peer.certificates.length === 0 && !carriesCertificate) {
      return await this.#next.authenticate(headers, peer);
    }
    const refusals: string[] = [];
    const attempts = [
      ...(peer.certificates.length > 0 ? [() => this.#byTls(peer)] : []),
      ...(carriesCertificate ? [() => this.#byToken(token)] : []),
    ];
    for (const attempt of attempts) {
      try {
        return { kind: 'agent', cluster: await attempt(), registered: true };
      } catch (thrown) {
        refusals.push(refusalOf(thrown));
      }
    }
    // The certificate in the handshake may be a proxy's, so another credential still counts.
    if (!carriesCertificate && hasOther(headers))
      return await this.#next.authenticate(headers, peer);
    throw new AuthenticationError(refusals.join('; '));
  }

  async #byTls(peer: Peer): Promise<string> {
    const { cluster } = await this.#certificates().prove(peer.certificates);
    return cluster;
  }

  async #byToken(token: string): Promise<string> {
    const certificates = this.#certificates();
    return await verifyCertificateToken(token, (chain) => certificates.prove(chain));
  }
}

function hasOther(headers: Headers): boolean {
  return headers.has('Authorization') || headers.has(credentialHeader);
}

/** Whether the head of a token has a field for certificates. The token is not verified. */
function hasCertificate(token: string): boolean {
  try {
    const [head = ''] = token.split('.', 1);
    const text = atob(head.replaceAll('-', '+').replaceAll('_', '/'));
    return Object.hasOwn(JSON.parse(text) as object, 'x5c');
  } catch {
    return false;
  }
}

function refusalOf(thrown: unknown): string {
  if (thrown instanceof AgentCertificateError) {
    return `the certificate is refused (${thrown.code}): ${thrown.message}`;
  }
  if (thrown instanceof CertificateTokenError) {
    return `the token is refused (${thrown.code}): ${thrown.message}`;
  }
  throw thrown;
}
