import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import type { AdmittedClient } from './admitted-client.ts';
import type { Identity } from './authenticator.ts';

/**
 * The clusters that the hub cluster's administrator accepts
 * (`ManagedCluster.spec.hubAcceptsClient`).
 */
export interface AcceptedClusters {
  /** Undefined until the hub cluster has answered. Until then, credentials alone decide. */
  isAccepted(cluster: string): boolean | undefined;
  /** Calls `listener` with each cluster that is no longer accepted. */
  onRevoked(listener: (cluster: string) => void): void;
}

/** The tunnels of the relay. */
interface Tunnels {
  agents(): Iterable<{ readonly cluster: string; readonly link: Link }>;
}

/**
 * The sweep closes tunnels that were admitted before the hub cluster had answered, and tunnels
 * whose HELLO came after their cluster was revoked.
 */
const sweepEveryMs = 20_000;

/**
 * Refuses and disconnects agents whose cluster the hub cluster no longer accepts. Agents with
 * enrolment tokens are not affected, because the hub cluster does not issue those.
 */
export class ClusterAdmission {
  readonly #accepted: AcceptedClusters;
  readonly #tunnels: Tunnels;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Links of agents that a registration with the hub cluster admitted. */
  readonly #registered = new WeakSet<Link>();
  #timer: Timer | undefined;

  constructor(
    accepted: AcceptedClusters,
    parts: { readonly tunnels: Tunnels; readonly clock: Clock; readonly log: Logger },
  ) {
    this.#accepted = accepted;
    this.#tunnels = parts.tunnels;
    this.#clock = parts.clock;
    this.#log = parts.log;
    accepted.onRevoked((cluster) => this.#closeTunnels((of) => of === cluster));
    this.#planSweep();
  }

  /** Why an agent with this identity is refused; undefined: it is admitted. */
  refusal(identity: Identity): string | undefined {
    if (identity.kind !== 'agent' || identity.registered !== true) return undefined;
    return this.#accepted.isAccepted(identity.cluster) === false
      ? refusalOf(identity.cluster)
      : undefined;
  }

  /** The client was admitted, and this is its link. */
  admitted(client: AdmittedClient, link: Link): void {
    if (client.kind === 'agent' && client.registered === true) this.#registered.add(link);
  }

  /** Idempotent. */
  close(): void {
    this.#timer?.cancel();
  }

  #planSweep(): void {
    this.#timer = this.#clock.setTimer(sweepEveryMs, () => {
      this.#closeTunnels((cluster) => this.#accepted.isAccepted(cluster) === false);
      this.#planSweep();
    });
  }

  #closeTunnels(isRevoked: (cluster: string) => boolean): void {
    for (const { cluster, link } of [...this.#tunnels.agents()]) {
      if (!this.#registered.has(link) || !isRevoked(cluster)) continue;
      this.#log.warn('tunnel revoked', { cluster, peer: link.peer });
      link.close(new TunnelError('forbidden', refusalOf(cluster)));
    }
  }
}

function refusalOf(cluster: string): string {
  return `the hub does not accept cluster ${cluster}; its ManagedCluster is gone or has hubAcceptsClient=false`;
}
