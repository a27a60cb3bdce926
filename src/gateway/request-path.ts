/** Visible ASCII characters, without those that RFC 3986 allows nowhere in a target. */
const visible = /^[\x21-\x7e]*$/;

/** A percent sign that does not begin an encoded byte. Go's parser refuses it, too. */
const brokenEncoding = /%(?![\dA-Fa-f]{2})/;

/** Encoded control characters, which no name in Kubernetes has. */
const encodedControl = /%(?:[01][\dA-Fa-f]|7[Ff])/;

/** A dot segment in any spelling; an encoded slash or backslash ends a segment, too. */
const dotSegment = /(?:^|\/|\\|%2f|%5c)(?:\.|%2e){1,2}(?=$|\/|\\|%2f|%5c)/i;

/** An encoded slash or backslash. */
const encodedSlash = /%2f|%5c/i;

/**
 * Returns what is wrong with a request target for any server; undefined for one that can be
 * forwarded. Only the origin form (RFC 9112, section 3.2.1) is accepted, because a URL in absolute
 * form names a second host.
 */
export function rawTargetProblem(target: string): string | undefined {
  if (!target.startsWith('/')) return 'it must be a path that begins with /';
  if (!visible.test(target)) return 'it must consist of visible ASCII characters';
  if (target.includes('#')) return 'it must have no fragment';
  const path = pathOf(target);
  if (path.includes('\\')) return 'its path must have no backslash';
  if (!path.includes('%')) return undefined;
  if (brokenEncoding.test(path))
    return 'a % in its path must be followed by two hexadecimal digits';
  return encodedControl.test(path) ? 'its path must have no control character' : undefined;
}

/**
 * Returns what is wrong with a path for an API server; undefined for one that means the same to
 * every server and proxy. A rule names namespaces and resources. An API server decodes a path
 * before it splits it, and a load balancer in front of it may resolve dots and empty segments. So a
 * path that such a step could turn into another resource's is refused. None of these exists in the
 * paths of an API server, except behind a subresource such as `proxy`, where the rest belongs to
 * another server: there, empty segments and encoded slashes pass.
 */
export function kubePathProblem(target: string): string | undefined {
  const path = pathOf(target);
  if ((path.includes('.') || path.includes('%')) && dotSegment.test(path)) {
    return 'its path must have no dot segment (/./ or /../), in any encoding';
  }
  const isSuspect = path.includes('//') || (path.includes('%') && encodedSlash.test(path));
  if (!isSuspect) return undefined;
  const own = path.slice(0, startOfSubpath(path));
  if (own.includes('//')) return 'its path must have no empty segment (//)';
  return encodedSlash.test(own) ? 'its path must have no encoded slash or backslash' : undefined;
}

function pathOf(target: string): string {
  const at = target.indexOf('?');
  return at < 0 ? target : target.slice(0, at);
}

/**
 * The index of the slash after a resource's subresource:
 * `/api/v1/namespaces/NAMESPACE/services/NAME/proxy|/...`. The length of the path if it has none.
 */
function startOfSubpath(path: string): number {
  const segments = path.split('/');
  const root = segments[1] === 'api' ? 3 : segments[1] === 'apis' ? 4 : Infinity;
  // A segment that is encoded without need gets the strict rule, so that only one spelling of
  // `namespaces` must be known. Old paths (/api/v1/watch/..., /api/v1/proxy/...) get it as well.
  const first = segments[root] ?? '';
  if (first.includes('%') || first === 'watch' || first === 'proxy') return path.length;
  // Resource, name and subresource; before them `namespaces` and the namespace.
  const count = root + (first === 'namespaces' ? 5 : 3);
  if (segments.length <= count) return path.length;
  return segments.slice(0, count).join('/').length;
}
