const maxSchemes = 8;

/**
 * The authentication schemes in a Proxy-Authenticate header, as the proxy spells them. RFC 9110,
 * section 11.6.1: the header is a list of challenges. Each challenge is a scheme with parameters,
 * which are separated by commas as well.
 */
export function offeredSchemes(header: string | undefined): string[] {
  const schemes: string[] = [];
  for (const element of listElements(header ?? '')) {
    // `realm="x"` is a parameter of the scheme before it; `Negotiate` and `Negotiate TlRM==` are
    // schemes.
    const scheme = /^\s*([A-Za-z0-9-]{1,20})(?:\s+[^=\s]|\s*$)/.exec(element)?.[1];
    if (scheme !== undefined && !schemes.includes(scheme)) schemes.push(scheme);
    if (schemes.length === maxSchemes) break;
  }
  return schemes;
}

/**
 * The elements of a list. A comma inside quotes is not a separator, and a quote that is never closed
 * ends with the header. Each character is read once, because the proxy chooses all of them.
 */
function* listElements(header: string): Generator<string> {
  let start = 0;
  let isQuoted = false;
  for (let at = 0; at < header.length; at++) {
    const character = header[at];
    if (character === '"') {
      isQuoted = !isQuoted;
    } else if (isQuoted) {
      if (character === '\\') at++;
    } else if (character === ',') {
      yield header.slice(start, at);
      start = at + 1;
    }
  }
  yield header.slice(start);
}

/**
 * Advice about a proxy that answered 407. `showed` is true when the proxy received a user and
 * password.
 */
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
