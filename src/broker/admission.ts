import { credentialHeader } from '../base/tokens/certificate-token.ts';
import type { Clock } from '../base/clock.ts';
import type { AcceptRate } from './accept-rate.ts';
import {
  AuthenticationError,
  AuthenticationUnavailableError,
  type Authenticator,
  type Identity,
  type Peer,
  proofHeader,
} from './authenticator.ts';
import { KeyedRates, type Rate } from './keyed-rates.ts';
import type { RelayAccess } from './relay-access.ts';

/**
 * Limits on how often clients may connect. docs/configuration.md, "Limits", has the same numbers.
 */
export interface AdmissionLimits {
  /**
   * Refused requests of one address. Above this rate, the broker does not check credentials from
   * that address.
   */
  readonly refusals: Rate;
  /** Connections of the agents of one cluster. */
  readonly agents: Rate;
  /** The part of the accept rate that one dialer may use. */
  readonly dialerPart: number;
  /** Requests for /v1/status and /v1/clusters with one credential. */
  readonly status: Rate;
  /** Tunnels of one cluster to this process, including tunnels whose agent has not sent HELLO. */
  readonly maxTunnelsPerCluster: number;
  /** Sessions of one dialer with one cluster in this process. */
  readonly maxSessionsPerDialer: number;
}

export const defaultAdmissionLimits: AdmissionLimits = {
  refusals: { perSecond: 200, burst: 400 },
  agents: { perSecond: 10, burst: 64 },
  dialerPart: 3 / 4,
  status: { perSecond: 5, burst: 10 },
  maxTunnelsPerCluster: 64,
  maxSessionsPerDialer: 256,
};

/** Why a client is refused, as an HTTP answer. */
export interface Refusal {
  readonly status: 401 | 503;
  readonly code: 'unauthorized' | 'unavailable' | 'overloaded' | 'draining';
  /** A sentence with the values and the next step. It never contains a credential. */
  readonly message: string;
  readonly retryAfterS?: number;
}

/** The headers that may carry a credential. */
const credentialHeaders = ['Authorization', credentialHeader, proofHeader];

/**
 * When a refused client may ask again, in seconds: a random number from the first to the second.
 */
const retryS = {
  unavailable: [3, 10],
  refusals: [1, 10],
  credential: [5, 15],
  full: [30, 90],
} as const;

export interface AdmissionParts {
  readonly relay: RelayAccess;
  readonly authenticator: Authenticator;
  readonly acceptRate: AcceptRate;
  readonly clock: Clock;
  readonly limits?: AdmissionLimits | undefined;
  readonly random?: () => number;
}

/**
 * Decides which clients are admitted. Separate budgets keep clients from using up each other's: a
 * refused request counts against its address, a good credential against itself, and only an
 * admitted client counts against the accept rate.
 */
export class Admission {
  readonly #relay: RelayAccess;
  readonly #authenticator: Authenticator;
  readonly #acceptRate: AcceptRate;
  readonly #limits: AdmissionLimits;
  readonly #random: () => number;
  readonly #refusals: KeyedRates;
  readonly #agents: KeyedRates;
  readonly #dialers: KeyedRates;
  readonly #status: KeyedRates;

  constructor({ relay, authenticator, acceptRate, clock, ...parts }: AdmissionParts) {
    const limits = parts.limits ?? defaultAdmissionLimits;
    const ofDialer = Math.max(1, acceptRate.perSecond * limits.dialerPart);
    this.#relay = relay;
    this.#authenticator = authenticator;
    this.#acceptRate = acceptRate;
    this.#limits = limits;
    this.#random = parts.random ?? Math.random;
    this.#refusals = new KeyedRates(limits.refusals, clock);
    this.#agents = new KeyedRates(limits.agents, clock);
    this.#dialers = new KeyedRates({ perSecond: ofDialer, burst: ofDialer }, clock);
    this.#status = new KeyedRates(limits.status, clock);
  }

  /**
   * The identity behind a request, or why it is refused. A request without any credential uses no
   * budget, because it costs nothing to refuse. So many such requests do not keep out agents behind
   * the same address.
   */
  async identify(headers: Headers, peer: Peer): Promise<Identity | Refusal> {
    const { address } = peer;
    if (address !== undefined && this.#refusals.isExhausted(address) && showsAny(headers, peer)) {
      const { perSecond } = this.#limits.refusals;
      return {
        status: 503,
        code: 'overloaded',
        message: `more than ${perSecond} requests per second from ${address} were refused; behind a proxy, name it with --trusted-proxies`,
        retryAfterS: this.#between(retryS.refusals),
      };
    }
    try {
      return await this.#authenticator.authenticate(headers, peer);
    } catch (thrown) {
      if (thrown instanceof AuthenticationUnavailableError) {
        const { message } = thrown;
        const retryAfterS = this.#between(retryS.unavailable);
        return { status: 503, code: 'unavailable', message, retryAfterS };
      }
      if (!(thrown instanceof AuthenticationError)) throw thrown;
      return { status: 401, code: 'unauthorized', message: thrown.message };
    }
  }

  /** Counts a request that was refused because of its credential. */
  refused(headers: Headers, peer: Peer): void {
    if (peer.address !== undefined && showsAny(headers, peer)) this.#refusals.take(peer.address);
  }

  /** Why no client is admitted at the moment; undefined: clients may be admitted. */
  closed(): Refusal | undefined {
    if (!this.#relay.draining) return undefined;
    const message = 'this broker is shutting down';
    return { status: 503, code: 'draining', message, retryAfterS: 1 };
  }

  /** Why another connection of an agent of `cluster` is refused; undefined: it may be admitted. */
  agentRefusal(cluster: string): Refusal | undefined {
    if (!this.#agents.take(cluster)) {
      const { perSecond } = this.#limits.agents;
      const message = `the agents of cluster ${cluster} connect more than ${perSecond} times per second`;
      return this.#overloaded(message, retryS.credential);
    }
    return this.#full(tunnelLimitProblem(this.#relay, cluster, this.#limits));
  }

  /** Why another session of `dialer` with `cluster` is refused; undefined: it may be admitted. */
  dialerRefusal(cluster: string, dialer: string): Refusal | undefined {
    if (!this.#dialers.take(dialer)) {
      const message = `dialer ${dialer} uses more than its part of the accept rate`;
      return this.#overloaded(message, retryS.credential);
    }
    return this.#full(sessionLimitProblem(this.#relay, { cluster, dialer }, this.#limits));
  }

  /** Why /v1/status is not answered for this credential; undefined: it is answered. */
  statusRefusal(identity: Identity): Refusal | undefined {
    const name = identity.kind === 'dialer' ? identity.name : '';
    if (this.#status.take(name)) return undefined;
    const message = `more than ${this.#limits.status.perSecond} requests for the status per second with one credential`;
    return this.#overloaded(message, retryS.refusals);
  }

  /** The last check, which uses up a part of the accept rate; undefined: the client is admitted. */
  rateRefusal(): Refusal | undefined {
    const retryAfterS = this.#acceptRate.admit();
    if (retryAfterS === 0) return undefined;
    const message = `more than ${this.#acceptRate.perSecond} connections per second (--accept-rate)`;
    return { status: 503, code: 'overloaded', message, retryAfterS };
  }

  #full(problem: string | undefined): Refusal | undefined {
    return problem === undefined ? undefined : this.#overloaded(problem, retryS.full);
  }

  #overloaded(message: string, within: readonly [number, number]): Refusal {
    return { status: 503, code: 'overloaded', message, retryAfterS: this.#between(within) };
  }

  #between([first, last]: readonly [number, number]): number {
    return first + Math.floor(this.#random() * (last - first + 1));
  }
}

/** Why a cluster may have no further tunnel at this broker; undefined: it may. */
export function tunnelLimitProblem(
  relay: RelayAccess,
  cluster: string,
  { maxTunnelsPerCluster: limit } = defaultAdmissionLimits,
): string | undefined {
  if (relay.tunnelCount(cluster) < limit) return undefined;
  return `cluster ${cluster} has ${limit} tunnels here, its limit (--max-tunnels-per-cluster)`;
}

/** Why a dialer may have no further session with a cluster at this broker; undefined: it may. */
export function sessionLimitProblem(
  relay: RelayAccess,
  { cluster, dialer }: { readonly cluster: string; readonly dialer: string },
  { maxSessionsPerDialer: limit } = defaultAdmissionLimits,
): string | undefined {
  if (relay.sessionCount(cluster, dialer) < limit) return undefined;
  return `dialer ${dialer} has ${limit} sessions with cluster ${cluster} here, its limit`;
}

/** Whether the answer of an `Admission` is a refusal. */
export function isRefusal(answer: Identity | Refusal): answer is Refusal {
  return 'status' in answer;
}

function showsAny(headers: Headers, { certificates }: Peer): boolean {
  return certificates.length > 0 || credentialHeaders.some((name) => headers.has(name));
}
