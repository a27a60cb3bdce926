import type { Action } from '../access/action.ts';
import { isFollowed } from '../http-exchange/long-request.ts';

const longSubresources: ReadonlySet<string> = new Set(['attach', 'exec', 'portforward', 'proxy']);

/**
 * Whether a request lasts until one end wants no more, so that it is counted apart. The API server
 * has the same rule for its own limits, but for logs: without `follow` they end by themselves.
 *
 * @param path the path and query
 * @param upgrade the protocol that the client asks for
 */
export function isLongRunning(action: Action, path: string, upgrade: string | undefined): boolean {
  if (upgrade !== undefined) return true;
  if (action.kind !== 'kube') return false;
  if (action.verb === 'watch' || action.verb === 'proxy') return true;
  if (action.subresource === 'log') return isFollowed(path);
  return longSubresources.has(action.subresource);
}
