import { issuedTokenAlgorithms } from '../base/tokens/issued-token.ts';

/** An OIDC issuer, as upstream's `--oidc-*` flags describe it. */
export interface OidcOptions {
  /** https only, without query and fragment. Compared exactly with the claim `iss`. */
  readonly issuerUrl: string;
  /** The audience of the tokens. */
  readonly clientId: string;
  /** Default: `sub`. */
  readonly usernameClaim?: string | undefined;
  /** Default: the issuer and `#`, or nothing for the claim `email`. `-`: nothing. */
  readonly usernamePrefix?: string | undefined;
  /** A claim that is a text or a list of texts. Default: none, and users have no groups. */
  readonly groupsClaim?: string | undefined;
  readonly groupsPrefix?: string | undefined;
  /** No user and no group may begin with one of these. Default: `system:`. */
  readonly reservedNamePrefixes?: readonly string[] | undefined;
  /** Default: RS256. */
  readonly signingAlgs?: readonly string[] | undefined;
  /** Claims that a token must have, with their exact text. */
  readonly requiredClaims?: Readonly<Record<string, string>> | undefined;
}

/** Why the options cannot be used; empty: they can. */
export function oidcOptionProblems(options: OidcOptions): readonly string[] {
  const { issuerUrl, clientId, usernameClaim, signingAlgs = [], requiredClaims = {} } = options;
  if ((issuerUrl === '') !== (clientId === '')) {
    return ['--oidc-issuer-url and --oidc-client-id must be specified together'];
  }
  // As in the kube-apiserver, the other options have no effect without an issuer.
  if (issuerUrl === '') return [];
  const problems: string[] = [];
  const url = URL.parse(issuerUrl);
  const isPlain =
    url !== null && !/[?#]/.test(issuerUrl) && url.username === '' && url.password === '';
  if (url?.protocol !== 'https:' || !isPlain) {
    problems.push(
      `--oidc-issuer-url=${JSON.stringify(issuerUrl)} must begin with https:// and have no user, query or fragment`,
    );
  }
  if (usernameClaim === '') problems.push('--oidc-username-claim must not be empty');
  if (options.reservedNamePrefixes?.includes('') === true) {
    problems.push('--oidc-reserved-name-prefixes must not contain an empty prefix');
  }
  const algorithms: readonly string[] = issuedTokenAlgorithms;
  for (const alg of signingAlgs) {
    if (!algorithms.includes(alg)) {
      problems.push(`unsupported OIDC signing algorithm ${JSON.stringify(alg)}`);
    }
  }
  if (Object.keys(requiredClaims).includes('')) {
    problems.push('--oidc-required-claim must not have an empty name');
  }
  return problems;
}
