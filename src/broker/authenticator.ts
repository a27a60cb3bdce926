/** Who is at the other end, proven before the upgrade. */
export type Identity =
  /** Speaks for one cluster and no other. */
  | { readonly kind: 'agent'; readonly cluster: string }
  /** Opens streams into clusters. */
  | { readonly kind: 'dialer'; readonly name: string }
  /** Another replica, which forwards a dialer that it has authenticated as `name`; `answer` proves to it who we are. */
  | { readonly kind: 'replica'; readonly name: string; readonly answer: string }
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

/** Decides who sent a request, from its headers. */
export interface Authenticator {
  /** @throws AuthenticationError without a credential that counts */
  authenticate(headers: Headers): Promise<Identity>;
}

/** For a broker without credentials, which its options let listen on loopback only. */
export const openAuthenticator: Authenticator = {
  authenticate: () => Promise.resolve({ kind: 'anyone' }),
};
