const maxSchemes = 8;

/**
 * The authentication schemes that a Proxy-Authenticate header offers, as the proxy spells them (RFC 9110, section 11.6.1: a list of
 * challenges, each a scheme with parameters that are separated by commas as well).
 */
export function offeredSchemes(header: string | undefined): string[] {
  const schemes: string[] = [];
  // A comma inside quotes does not separate.
  for (const element of (header ?? '').match(/(?:"(?:\\.|[^"\\])*"|[^,"])+/g) ?? []) {
    // `realm="x"` is a parameter of the scheme before it; `Negotiate` and `Negotiate TlRM==` are schemes.
    const scheme = /^\s*([A-Za-z0-9-]{1,20})(?:\s+[^=\s]|\s*$)/.exec(element)?.[1];
    if (scheme !== undefined && !schemes.includes(scheme)) schemes.push(scheme);
  }
  return schemes.slice(0, maxSchemes);
}

/** What to do about a proxy that answered 407. `showed`: it was shown a user and password. */
export function challengeAdvice(header: string | undefined, showed: boolean): string {
  const offered = offeredSchemes(header);
  const hasBasic = offered.length === 0 || offered.some((scheme) => /^basic$/i.test(scheme));
  if (!hasBasic) {
    return (
      `it only offers ${offered.join(', ')} authentication, and only Basic is supported: have the proxy accept Basic, ` +
      'or this destination without authentication, or use a local proxy that authenticates for this program'
    );
  }
  return showed
    ? "it did not accept the user and password in the proxy's URL, correct them"
    : "put user and password into the proxy's URL";
}
