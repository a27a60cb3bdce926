import { isTrueValue, queryValues } from '../base/net/query-values.ts';
import { AccessError } from './access-error.ts';
import type { KubeAction, KubePathAction } from './action.ts';

/** A client may send the name of a property that every object has as its method. */
const verbOfMethod: ReadonlyMap<string, string> = new Map([
  ['POST', 'create'],
  ['GET', 'get'],
  ['HEAD', 'get'],
  ['PUT', 'update'],
  ['PATCH', 'patch'],
  ['DELETE', 'delete'],
]);

/** Verbs of old paths, such as /api/v1/watch/pods. */
const pathVerbs: ReadonlySet<string> = new Set(['proxy', 'watch']);
/** Go since 1.24.12 and 1.25.6 drops a query with more than 10,000. No client has as many. */
const maxParameters = 1_000;
const namespaceSubresources: ReadonlySet<string> = new Set(['status', 'finalize']);

/**
 * The action of a request, as the kube-apiserver's RequestInfoFactory reads it
 * (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go). The path is decoded before it is split,
 * so an escaped slash separates segments. If the action is less specific than the apiserver's, the
 * name is empty: rules only allow, so this never widens a rule.
 *
 * @param target the request target in origin form, byte for byte: `/path?query`
 * @throws AccessError `malformed_path` a wrong escape, a dot segment, a backslash, a control
 *   character, an empty segment where the resource is named, or too many parameters
 */
export function kubeRequestInfo(method: string, target: string): KubeAction | KubePathAction {
  const mark = target.indexOf('?');
  const path = decodePath(mark < 0 ? target : target.slice(0, mark));
  const query = mark < 0 ? '' : target.slice(mark + 1);
  const parts = trimSlashes(path).split('/');
  const nonResource: KubePathAction = { kind: 'kube-path', verb: method.toLowerCase(), path };
  const [prefix] = parts;
  if (parts.length < 3 || (prefix !== 'api' && prefix !== 'apis')) return nonResource;
  if (prefix === 'apis' && parts.length < 4) return nonResource;
  const [group, version, ...rest] = prefix === 'api' ? ['', ...parts.slice(1)] : parts.slice(1);
  const { verb, segments } = verbAndSegments(method, rest, path);
  const { namespace, resourceParts } = splitNamespace(segments);
  const [resource = '', name = '', subresource = ''] = resourceParts;
  const named = [group, version, ...segments.slice(0, segments.length - resourceParts.length)];
  checkSegments([...named.slice(prefix === 'api' ? 1 : 0), ...resourceParts.slice(0, 3)], path);
  const info: KubeAction = {
    kind: 'kube',
    verb,
    group: group!,
    version: version!,
    resource,
    subresource: verb === 'proxy' ? '' : subresource,
    namespace,
    name,
  };
  if (name !== '') return info;
  if (query.split('&').length > maxParameters) throw malformed(path, 'has too many parameters');
  return withoutName(info, query);
}

function verbAndSegments(method: string, rest: readonly string[], path: string) {
  const [first, ...others] = rest;
  if (!pathVerbs.has(first!)) return { verb: verbOfMethod.get(method) ?? '', segments: rest };
  if (others.length === 0) throw malformed(path, 'names no resource');
  return { verb: first!, segments: others };
}

/** `namespaces/NAMESPACE/RESOURCE/...`, or a namespace itself, which is in its own namespace. */
function splitNamespace(segments: readonly string[]) {
  if (segments[0] !== 'namespaces') return { namespace: '', resourceParts: segments };
  const [, namespace = '', next] = segments;
  const isNamespaceItself = next === undefined || namespaceSubresources.has(next);
  return { namespace, resourceParts: isNamespaceItself ? segments : segments.slice(2) };
}

/** A `get` without a name is a `list` or `watch`, and a `delete` is a `deletecollection`. */
function withoutName(info: KubeAction, query: string): KubeAction {
  if (info.verb === 'delete') return { ...info, verb: 'deletecollection' };
  if (info.verb !== 'get') return info;
  const values = queryValues(query);
  const verb = isTrueValue(values.get('watch')) ? 'watch' : 'list';
  return { ...info, verb, name: selectedName(values) };
}

/** The name that a field selector asks for, or an empty text if the selector could mean more. */
function selectedName(values: ReadonlyMap<string, readonly string[]>): string {
  const selectors = values.get('fieldSelector') ?? [];
  const numbers = ['limit', 'timeoutSeconds'].flatMap((key) => values.get(key) ?? []);
  if (selectors.length !== 1 || !numbers.every((text) => /^\d+$/.test(text))) return '';
  const terms = selectors[0]!.split(',');
  const names = terms.flatMap(
    (term) => /^metadata\.name==?([A-Za-z0-9][-.:A-Za-z0-9]*)$/.exec(term)?.[1] ?? [],
  );
  return names.length === 1 && !selectors[0]!.includes('\\') ? names[0]! : '';
}

function decodePath(raw: string): string {
  let path: string;
  try {
    path = decodeURIComponent(raw);
  } catch {
    throw malformed(raw, 'has a wrong escape');
  }
  // oxlint-disable-next-line no-control-regex -- they are looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) throw malformed(raw, 'has a control character');
  if (path.includes('\\')) throw malformed(raw, 'has a backslash');
  if (!path.startsWith('/')) throw malformed(raw, 'does not begin with a slash');
  // A server behind the apiserver may decode the path again, which must not create dot segments.
  if (/(?:^|\/)(?:\.|%2e){1,2}(?:$|\/)/i.test(path)) {
    throw malformed(raw, 'has a dot segment');
  }
  return path;
}

function checkSegments(segments: readonly (string | undefined)[], path: string): void {
  if (segments.includes('')) throw malformed(path, 'has an empty segment');
}

/** A loop, because a regular expression takes quadratic time for a path of slashes. */
function trimSlashes(path: string): string {
  let start = 0;
  let end = path.length;
  while (start < end && path[start] === '/') start++;
  while (end > start && path[end - 1] === '/') end--;
  return path.slice(start, end);
}

function malformed(path: string, problem: string): AccessError {
  const shown = path.length > 200 ? `${path.slice(0, 200)}...` : path;
  return new AccessError('malformed_path', `the path ${JSON.stringify(shown)} ${problem}`);
}
