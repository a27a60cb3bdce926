import type { DialerToken } from '../base/tokens/token-subject.ts';

/** The identity of the other end, proven before the upgrade. */
export type Identity =
  /**
   * Speaks for one cluster and no other. `registered`: its credential comes from a registration
   * with the hub cluster, which can revoke it.
   */
  | { readonly kind: 'agent'; readonly cluster: string; readonly registered?: true }
  /** Opens streams into the clusters that its token is for. */
  | ({ readonly kind: 'dialer' } & DialerToken)
  /**
   * Another replica. It forwards a session with `cluster` of a dialer that it has authenticated as
   * `name`. A replica of culvert 0.1 names no cluster. `answer` proves our identity to it.
   */
  | {
      readonly kind: 'replica';
      readonly name: string;
      readonly cluster: string | undefined;
      /** The dialer is a gateway. */
      readonly isGateway?: boolean;
      readonly answer: string;
    }
  /**
   * No credentials are configured. The broker listens on loopback only, and each client may have
   * any identity.
   */
  | { readonly kind: 'anyone' };

/**
 * The header with which a replica proves to another that it has their shared key. The answer has a
 * header of the same name, which proves the same of the other replica.
 */
export const proofHeader = 'Culvert-Replica';

/** The credential is missing or not valid: 401. The message never contains a credential. */
export class AuthenticationError extends Error {
  override readonly name = 'AuthenticationError';
}

/** The credential cannot be checked now: 503. */
export class AuthenticationUnavailableError extends Error {
  override readonly name = 'AuthenticationUnavailableError';
}

/** The address of a request, and what its connection proves about the other end. */
export interface Peer {
  /** The key for limits per address (`addressGroup`); undefined: unknown. */
  readonly address?: string | undefined;
  /**
   * The certificates of the TLS handshake (DER, the peer's own first). The peer has the key, but no
   * CA was checked.
   */
  readonly certificates: readonly Uint8Array[];
}

/** A connection about which nothing is known. */
export const unknownPeer: Peer = { certificates: [] };

/** Finds the identity behind a request, from its headers and its connection. */
export interface Authenticator {
  /**
   * @throws AuthenticationError the credential is missing or not valid
   * @throws AuthenticationUnavailableError the credential cannot be checked now
   */
  authenticate(headers: Headers, peer: Peer): Promise<Identity>;
}

/** Accepts all requests. The options allow it only for a broker that listens on loopback. */
export const openAuthenticator: Authenticator = {
  authenticate: () => Promise.resolve({ kind: 'anyone' }),
};

/** The end of a chain of authenticators: none of them knows the credential. */
export function refuseAll(sentence: string): Authenticator {
  return { authenticate: () => Promise.reject(new AuthenticationError(sentence)) };
}

/** The bearer token in a header's value; undefined: there is none. */
export function bearerToken(header: string | null): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
}
