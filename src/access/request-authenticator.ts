import type { MaybePromise } from '../base/maybe-promise.ts';
import type { Subject } from './subject.ts';

/** The credentials of a request to a managed cluster's kube-apiserver. */
export interface RequestCredentials {
  /** Names of all headers of the request, in any spelling. */
  readonly headerNames: Iterable<string>;
  /** Values of all `Authorization` headers, in order. */
  readonly authorization: readonly string[];
  /** The verified client certificate, if the listener asks for certificates. */
  readonly certificate?: CertificateIdentity | undefined;
  /** A key for limits per client, for example `addressGroup`; undefined: not known. */
  readonly address?: string | undefined;
}

/** A client certificate that the listener has verified against its CA. */
export interface CertificateIdentity {
  readonly commonNames: readonly string[];
  readonly organizations: readonly string[];
  /** Lower-case hex without separators or leading zeros. */
  readonly serial: string;
  /** The issuer's name as RFC 4514 writes it. */
  readonly issuer: string;
  /** In milliseconds since 1970. */
  readonly expiresAtMs: number;
}

/** How the request goes on to the managed cluster. */
export type Authentication =
  /**
   * The caller's headers go on unchanged, and the managed cluster authenticates. `subject` is
   * undefined when the proxy has not checked the credentials.
   */
  | { readonly kind: 'forward'; readonly subject: Subject | undefined }
  /**
   * The agent's credentials and `Impersonate-User`, `Impersonate-Group` replace the caller's
   * credentials and all its `Impersonate-*` headers.
   */
  | {
      readonly kind: 'impersonate';
      readonly subject: Subject;
      /** The impersonated user, which can differ from `subject.user` (`cluster:hub:`). */
      readonly user: string;
      readonly groups: readonly string[];
    };

/** Authenticates requests in the order of upstream's service-proxy. */
export interface RequestAuthenticator {
  /**
   * @param cluster the name of the cluster that the request is for
   * @throws AccessError `unauthenticated` (401, the message is the text for the client),
   *   `unavailable` (401 as upstream, the message is the text for the client)
   */
  authenticate(
    credentials: RequestCredentials,
    cluster: string,
    signal: AbortSignal,
  ): MaybePromise<Authentication>;
}
