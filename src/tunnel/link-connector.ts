import type { AttachableLink } from './link.ts';

/**
 * Makes links from this end, over one kind of transport. Agents, dialers and the replicas of a
 * broker use it, so that none of them depends on a transport.
 */
export interface LinkConnector<Route> {
  /**
   * Makes one attempt, which has a time limit of its own. It does not retry: the owner of the link
   * knows how long its users wait.
   *
   * @param route the address of the other end, and the credentials that it gets
   * @param signal ends the attempt and closes everything that it opened; it has no effect on a link
   *   that was made
   * @throws ConnectError the step that failed; nothing is left open
   */
  connect(route: Route, signal: AbortSignal): Promise<AttachableLink>;
}
