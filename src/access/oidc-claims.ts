import type { OidcOptions } from './oidc-options.ts';
import { isName } from './token-review.ts';

type Claims = Readonly<Record<string, unknown>>;

export interface OidcUser {
  readonly user: string;
  readonly groups: readonly string[];
}

const maxGroups = 1_000;

/**
 * Maps the claims of a verified token to a user, with the rules of the kube-apiserver's OIDC flags.
 *
 * @returns a text: the reason why the token is refused
 */
export function oidcUserOf(claims: Claims, options: OidcOptions): OidcUser | string {
  for (const [name, wanted] of Object.entries(options.requiredClaims ?? {})) {
    if (!Object.hasOwn(claims, name)) return `the required claim ${name} is missing`;
    if (claims[name] !== wanted) return `the required claim ${name} has another value`;
  }
  const user = usernameOf(claims, options);
  if (user === undefined) return 'the claim of the username is missing, empty or no text';
  if (options.usernameClaim === 'email' && !isVerifiedEmail(claims)) return 'email not verified';
  const groups = groupsOf(claims, options);
  if (groups === undefined) return 'the claim of the groups is no text and no list of texts';
  if (groups.length > maxGroups) return `the user has more than ${maxGroups} groups`;
  if (![user, ...groups].every(isName)) return 'a name has control characters or is too long';
  for (const prefix of options.reservedNamePrefixes ?? ['system:']) {
    if (user.startsWith(prefix)) return `username cannot use the reserved ${prefix} prefix`;
    if (groups.some((group) => group.startsWith(prefix))) {
      return `groups cannot use the reserved ${prefix} prefix`;
    }
  }
  return { user, groups };
}

function usernameOf(claims: Claims, options: OidcOptions): string | undefined {
  const { usernameClaim = 'sub', usernamePrefix = '', issuerUrl } = options;
  const name = ownClaim(claims, usernameClaim);
  if (typeof name !== 'string' || name === '') return undefined;
  if (usernamePrefix === '-') return name;
  const isUnprefixed = usernamePrefix === '' && usernameClaim === 'email';
  return `${usernamePrefix === '' && !isUnprefixed ? `${issuerUrl}#` : usernamePrefix}${name}`;
}

/** An issuer that says nothing about it is believed, as in the kube-apiserver. */
function isVerifiedEmail(claims: Claims): boolean {
  const verified = ownClaim(claims, 'email_verified');
  return verified === undefined || verified === true;
}

function groupsOf(claims: Claims, options: OidcOptions): readonly string[] | undefined {
  const { groupsClaim = '', groupsPrefix = '' } = options;
  const value = groupsClaim === '' ? undefined : ownClaim(claims, groupsClaim);
  if (value === undefined) return [];
  const groups: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (!groups.every((group) => typeof group === 'string')) return undefined;
  return groups.map((group) => `${groupsPrefix}${group}`);
}

/** A claim with the name of a property that every object has must not be read from there. */
function ownClaim(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}
