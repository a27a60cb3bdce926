/** The parts of a token that nobody has verified. */
export interface UnverifiedToken {
  /** The id of the key that the token claims to be signed with. */
  readonly kid?: unknown;
  readonly iss?: unknown;
  readonly sub?: unknown;
  readonly aud?: unknown;
  readonly exp?: unknown;
  readonly jti?: unknown;
}

/**
 * Reads a token without verifying it: only the authority behind it knows whether the claims are
 * true. Empty where the text is no token.
 */
export function unverifiedToken(token: string): UnverifiedToken {
  const [head = '', body = ''] = token.split('.', 2);
  const { kid } = objectOf(head) as { readonly kid?: unknown };
  return { ...objectOf(body), kid };
}

function objectOf(part: string): object {
  try {
    const bytes = Uint8Array.from(
      atob(part.replaceAll('-', '+').replaceAll('_', '/')),
      (character) => character.charCodeAt(0),
    );
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}
