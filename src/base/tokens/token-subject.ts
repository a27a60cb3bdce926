/**
 * The owner of an enrolment token: the agents of one cluster, or a named caller that opens streams
 * into clusters.
 */
export type TokenSubject =
  | { readonly kind: 'agent'; readonly cluster: string }
  | ({ readonly kind: 'dialer' } & DialerToken);

/** Neither `clusters` nor `selector`: the token is for every cluster. */
export interface DialerToken {
  readonly name: string;
  /** The clusters that the token is for. */
  readonly clusters?: readonly string[] | undefined;
  /** A label selector of ManagedClusters that the token is for, in addition to `clusters`. */
  readonly selector?: string | undefined;
  /** The token is a gateway's, which may ask for the agents' credentials. It is for every cluster. */
  readonly isGateway?: true | undefined;
  /** The claim `jti`, by which the token can be revoked. Tokens before 0.12 have none. */
  readonly id?: string | undefined;
  /** When brokers stop accepting the token, in milliseconds since 1970. */
  readonly expiresAtMs?: number | undefined;
}

const tokenId = /^[A-Za-z0-9._:-]{1,128}$/;

/** Whether a text can be the id of a token. Policies list ids of revoked tokens. */
export function isTokenId(text: string): boolean {
  return tokenId.test(text);
}

const callerName = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

/**
 * Whether a text can be the name of a dialer. Logs and policies contain the name, so it has neither
 * spaces nor control characters.
 */
export function isCallerName(text: string): boolean {
  return callerName.test(text);
}
