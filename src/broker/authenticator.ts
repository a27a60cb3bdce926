/** Who is at the other end, proven before the upgrade. */
export type Identity =
  /** Speaks for one cluster and no other. `registered`: by what its registration with the hub gave it, so the hub can revoke it. */
  | { readonly kind: 'agent'; readonly cluster: string; readonly registered?: true }
  /** Opens streams into clusters. */
  | { readonly kind: 'dialer'; readonly name: string }
  /**
   * Another replica, which forwards a session with `cluster` (undefined: a replica of culvert 0.1, with any) of a dialer that it has
   * authenticated as `name`; `answer` proves to it who we are.
   */
  | {
      readonly kind: 'replica';
      readonly name: string;
      readonly cluster: string | undefined;
      readonly answer: string;
    }
  /** No credentials are configured: the broker listens on loopback only, and everybody may be anybody. */
  | { readonly kind: 'anyone' };

/**
 * What one replica shows to another: seconds since 1970, and the proof that it has the key they share. The answer has a header
 * of the same name, with the proof that the other one has it too.
 */
export const proofHeader = 'Culvert-Replica';

/** Nobody we know: 401. The sentence never holds a credential. */
export class AuthenticationError extends Error {
  override readonly name = 'AuthenticationError';
}

/** Whoever decides about the credential cannot be asked now: 503. */
export class AuthenticationUnavailableError extends Error {
  override readonly name = 'AuthenticationUnavailableError';
}

/** Where a request comes from, and what its connection itself proves about the other end. */
export interface Peer {
  /** What limits per address count by (`addressGroup`); undefined: not known. */
  readonly address?: string | undefined;
  /** The certificates of a TLS handshake (DER, the peer's own first). It has the key; whether to trust them is not decided. */
  readonly certificates: readonly Uint8Array[];
}

/** A connection of which nothing is known. */
export const unknownPeer: Peer = { certificates: [] };

/** Decides who sent a request, from its headers and its connection. */
export interface Authenticator {
  /**
   * @throws AuthenticationError without a credential that counts
   * @throws AuthenticationUnavailableError the credential cannot be checked now
   */
  authenticate(headers: Headers, peer: Peer): Promise<Identity>;
}

/** For a broker without credentials, which its options let listen on loopback only. */
export const openAuthenticator: Authenticator = {
  authenticate: () => Promise.resolve({ kind: 'anyone' }),
};

/** The end of a chain of authenticators: nothing that any of them knows was shown. */
export function refuseAll(sentence: string): Authenticator {
  return { authenticate: () => Promise.reject(new AuthenticationError(sentence)) };
}

/** The token in the value of a header; undefined where there is none. */
export function bearerToken(header: string | null): string | undefined {
  return /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
}
