import type { Clock, Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { Link } from '../tunnel/link.ts';
import type { Identity } from './authenticator.ts';

/** Which clusters the hub accepts: those whose administrator has said so, and has not taken it back. */
export interface AcceptedClusters {
  /** Undefined while the hub has not been heard: then credentials alone decide. */
  isAccepted(cluster: string): boolean | undefined;
  /** `listener` hears of each cluster that is accepted no longer. */
  onRevoked(listener: (cluster: string) => void): void;
}

/** The tunnels of the hub, as far as this concerns them. */
interface Tunnels {
  agents(): Iterable<{ readonly cluster: string; readonly link: Link }>;
}

/** Also closes tunnels that came while the hub had not been heard, and those that said HELLO after the word about them. */
const sweepEveryMs = 20_000;

/** Keeps out, and throws out, agents whose registration counts no more. Enrolment tokens are not of the hub: they stay. */
export class ClusterAdmission {
  readonly #accepted: AcceptedClusters;
  readonly #tunnels: Tunnels;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Links that came by a registration. */
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

  /** Why an agent with this identity is not let in; undefined: it is. */
  refusal(identity: Identity): string | undefined {
    if (identity.kind !== 'agent' || identity.registered !== true) return undefined;
    return this.#accepted.isAccepted(identity.cluster) === false
      ? refusalOf(identity.cluster)
      : undefined;
  }

  /** The agent has been let in, over this link. */
  admitted(identity: Identity, link: Link): void {
    if (identity.kind === 'agent' && identity.registered === true) this.#registered.add(link);
  }

  /** Watches no longer. Idempotent. */
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
