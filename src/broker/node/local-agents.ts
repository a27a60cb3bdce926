import { credentialHeader } from '../../base/tokens/certificate-token.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { memoryLinkPair } from '../../tunnel/memory-link.ts';
import type { AdmittedAgent } from '../admitted-client.ts';
import { AuthenticationError, type Identity } from '../authenticator.ts';
import type { Relay } from '../relay.ts';
import { unverifiedToken } from '../../access/unverified-token.ts';
import type { AccessControl } from './access-control.ts';

/** An agent in the broker's process, whose credential has been checked. */
export type LocalAgent = Omit<AdmittedAgent, 'kind' | 'standby'>;

/**
 * Takes agents that are in the broker's process and speak for agents of another protocol. A cluster
 * that has an ordinary agent as well uses that one for new sessions.
 */
export class LocalAgents {
  readonly #relay: Relay;
  readonly #access: Pick<AccessControl, 'authenticator' | 'clusterAdmission'>;

  constructor(relay: Relay, access: Pick<AccessControl, 'authenticator' | 'clusterAdmission'>) {
    this.#relay = relay;
    this.#access = access;
  }

  /**
   * Makes a link for a tunnel of the agent.
   *
   * @throws TunnelError `forbidden` the hub does not accept the cluster; `draining` the broker shuts
   *   down
   */
  connect(agent: LocalAgent): AttachableLink {
    const { clusterAdmission } = this.#access;
    const { cluster, registered } = agent;
    const refusal = clusterAdmission?.refusal({
      kind: 'agent',
      cluster,
      ...(registered && { registered }),
    });
    if (refusal !== undefined) throw new TunnelError('forbidden', refusal);
    if (this.#relay.draining) throw new TunnelError('draining', 'this broker is shutting down');
    const peers = ['broker', agent.agent] as const;
    const [near, far] = memoryLinkPair(queueMicrotask, { peers });
    const client = { ...agent, kind: 'agent', standby: true } as const;
    clusterAdmission?.admitted(client, far);
    this.#relay.admit(far, client);
    return near;
  }

  /**
   * Finds the cluster of an agent's bearer token: an enrolment token, or a token of the agents'
   * ServiceAccount.
   *
   * @param address the key for limits per address
   * @throws AuthenticationError, AuthenticationUnavailableError
   */
  async authenticate(
    token: string,
    address: string,
  ): Promise<Extract<Identity, { kind: 'agent' }>> {
    const { sub } = unverifiedToken(token);
    const isServiceAccount = typeof sub === 'string' && sub.startsWith('system:serviceaccount:');
    const header = isServiceAccount ? credentialHeader : 'Authorization';
    const headers = new Headers({ [header]: `Bearer ${token}` });
    const identity = await this.#access.authenticator.authenticate(headers, {
      address,
      certificates: [],
    });
    if (identity.kind === 'agent') return identity;
    throw new AuthenticationError("the token is not an agent's");
  }
}
