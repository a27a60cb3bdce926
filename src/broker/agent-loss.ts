import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';

/**
 * The error that ends the links of dialers whose sessions were on a lost tunnel. The code tells
 * them how long to wait for the agent.
 *
 * - `link_lost`: the network was silent, and may come back.
 * - `agent_lost`: the connection was closed. Its process may be dead, or a middlebox closed it.
 * - `unknown_session`: the process is dead. Dialers end the session at once, so that clients connect
 *   again through another agent.
 *
 * A live agent ends a tunnel with a close frame. So without one, and without a middlebox on the
 * way, the system closed the connection of a dead process. Without other agents, the end of the
 * streams would not help their clients, so dialers wait.
 *
 * @param error why the tunnel ended
 * @param source the address of the agent's end, as the agent told it
 * @param hasOthers whether other agents of the cluster take the clients
 */
export function agentLoss(
  of: { readonly cluster: string; readonly link: Pick<Link, 'peer'> },
  error: TunnelError | undefined,
  source: string | undefined,
  hasOthers: boolean,
): TunnelError {
  const sentence = `the agent of cluster ${of.cluster} was lost`;
  const options = { cause: error };
  if (error?.code === 'peer_unresponsive') return new TunnelError('link_lost', sentence, options);
  const isDead = error?.code === 'link_lost' && source === of.link.peer;
  if (!isDead || !hasOthers) return new TunnelError('agent_lost', sentence, options);
  return new TunnelError('unknown_session', `${sentence}, other agents are connected`, options);
}
