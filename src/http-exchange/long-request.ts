import { isTrueValue, queryValues } from '../base/net/query-values.ts';
import type { HttpRequestHead } from './http-exchange.ts';
import { isUpgradeRequest } from './upgrade.ts';

/** Paths of old clients, such as /api/v1/watch/pods. */
const watchPath = /^\/(?:api|apis\/[^/?]+)\/[^/?]+\/watch\//;

/**
 * Whether a request to a kube-apiserver asks for events or log lines until one end wants no more:
 * `watch` and `follow` in the query, as the kube-apiserver reads them. Requests with a body and
 * upgrades are other cases.
 */
export function isLongRequest(head: HttpRequestHead, hasBody: boolean): boolean {
  const { method, path } = head;
  if (method !== 'GET' || hasBody) return false;
  return (
    (watchPath.test(path) || isParameter(path, 'watch') || isFollowed(path)) &&
    !isUpgradeRequest(head)
  );
}

/** Whether a request for a log wants further lines as they come. */
export function isFollowed(path: string): boolean {
  return isParameter(path, 'follow');
}

function isParameter(path: string, name: string): boolean {
  const mark = path.indexOf('?');
  if (mark < 0) return false;
  return isTrueValue(queryValues(path.slice(mark + 1)).get(name));
}
