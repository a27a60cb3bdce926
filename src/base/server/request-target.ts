/**
 * Letters, digits and punctuation of RFC 3986, section 3.3. `%` and backslash are excluded, because
 * no path of ours needs them.
 */
const plainPath = /^\/[\w.~!$&'()*+,;=:@/-]*$/;

/** RFC 3986, section 3.4: a query has neither a backslash nor a fragment. */
const plainQuery = /^[\w.~!$&'()*+,;=:@/?%-]*$/;

/**
 * Checks the target of a request as it was sent, before it is normalized. If a proxy and a server
 * read one target differently, a client can pass a path rule at the proxy and reach another path at
 * the server. So a target with more than one interpretation is refused: backslashes,
 * percent-encoding, empty and dot segments, the absolute form.
 *
 * @param target the request target of RFC 9112, section 3.2
 * @returns the problem as a sentence; undefined when the path has one interpretation
 */
export function requestTargetProblem(target: string): string | undefined {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  const query = at < 0 ? '' : target.slice(at + 1);
  if (!path.startsWith('/')) return 'the request target must be a path that starts with /';
  if (!plainPath.test(path)) {
    return 'the path of the request must have no backslash, no percent-encoding and only visible ASCII characters';
  }
  const segments = path.split('/').slice(1, -1);
  if (segments.includes('')) return 'the path of the request must have no empty segment (//)';
  if (path.split('/').some((segment) => segment === '.' || segment === '..')) {
    return 'the path of the request must have no dot segment (/./ or /../)';
  }
  return plainQuery.test(query)
    ? undefined
    : 'the query of the request must have no backslash, no fragment and only visible ASCII characters';
}
