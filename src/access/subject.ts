/** The kind of credential that proved a subject. */
export type SubjectSource =
  /** A TokenReview of the managed cluster. The managed cluster knows the user itself. */
  | 'managed-token'
  /** A TokenReview of the hub cluster. */
  | 'hub-token'
  | 'oidc'
  | 'client-certificate'
  /** A token of `culvert token dialer`. */
  | 'dialer-token'
  /** No credential, on a listener that asks for none. */
  | 'none';

/**
 * The credential behind a subject, so that it can be revoked. A token has the value of its claim
 * `jti`. A certificate has its serial number (lower-case hex without separators or leading zeros)
 * and its issuer.
 */
export type CredentialId =
  | { readonly kind: 'token'; readonly id: string }
  | { readonly kind: 'certificate'; readonly serial: string; readonly issuer: string };

/** An authenticated person or program. */
export interface Subject {
  /** As the credential names the user. For `dialer-token` the name of the token's owner. */
  readonly user: string;
  readonly groups: readonly string[];
  readonly uid?: string | undefined;
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly source: SubjectSource;
  readonly credential?: CredentialId | undefined;
  /** When the credential expires, in milliseconds since 1970; undefined: not known. */
  readonly expiresAtMs?: number | undefined;
  /** The only clusters that the credential is for; undefined: it names none. */
  readonly scope?: ClusterScope | undefined;
}

/** Clusters by name or by the labels of their ManagedCluster. A cluster that fits either is in it. */
export interface ClusterScope {
  readonly names: readonly string[];
  /** A label selector in kubectl's syntax: `env in (test,dev),!legacy`. */
  readonly selector?: string | undefined;
}

/** The subject of listeners that ask for no credential. */
export const anonymousSubject: Subject = { user: 'system:anonymous', groups: [], source: 'none' };
