import type { Socket } from 'node:net';
import type { WatchedAuthorizer } from '../../access/watched-authorizer.ts';
import { formatHostPort } from '../../base/net/host-port.ts';
import { type HttpAcceptor, type HttpListener } from '../../base/server/http-listener.ts';
import type { Secret } from '../../base/secret.ts';
import type { PooledDialer } from '../../dialer/pooled-dialer.ts';
import type { Dialer } from '../../dialer/dialer.ts';
import type { Relay } from '../relay.ts';
import type { AccessControl } from './access-control.ts';
import type { BrokerOptions } from './options.ts';
import type { HubCluster } from './hub-cluster.ts';
import type { LocalAgents } from './local-agents.ts';

export interface RunningBroker extends AsyncDisposable {
  /** Where agents and remote dialers connect: `ws://` or `wss://`. Empty with `hasNoPort`. */
  readonly url: string;
  /** Agents with a tunnel here. Each counts once, and agents of this process do not count. */
  readonly agentCount: number;
  /** The reason why the broker is not ready. Undefined when it is ready. */
  readonly unready: string | undefined;
  /** Whether the hub cluster has a cluster. Undefined: no hub cluster is known, or not yet. */
  readonly isKnownCluster: (this: void, cluster: string) => boolean | undefined;
  /** Serves a connection that another listener of this process has accepted. */
  readonly accept: (socket: Socket) => void;
  /** Opens streams from within this process, for a bridge beside the broker. */
  readonly dialer: Dialer;
  /** The same for a gateway, which may ask for the agents' credentials. */
  readonly gatewayDialer: Dialer;
  /** Makes a dialer with the rights of a token, for a client of that bridge. */
  readonly makeTokenDialer: (this: void, token: Secret) => PooledDialer;
  /** Takes agents from within this process. */
  readonly localAgents: LocalAgents;
  /** The rules for clients of the other fronts in this process; undefined: there are none. */
  readonly rules: WatchedAuthorizer | undefined;
  /** The hub cluster, for other servers in this process; undefined: it is not used. */
  readonly hubCluster: HubCluster | undefined;
  /**
   * Takes no new clients, asks all clients to go elsewhere, and ends when they have or when
   * `signal` aborts.
   *
   * @param users the drains of listeners in this process, with the same `signal`. Until they have
   *   ended, dials of the broker's own dialers are served (default: there are none).
   */
  drain(signal: AbortSignal, users?: Promise<unknown>): Promise<void>;
  /** Closes all connections now. Idempotent. */
  close(): Promise<void>;
}

export interface BrokerOwnParts extends Pick<
  RunningBroker,
  'isKnownCluster' | 'makeTokenDialer' | 'localAgents'
> {
  readonly relay: Relay;
  readonly listener: HttpListener | HttpAcceptor;
  readonly dialer: PooledDialer;
  readonly gatewayDialer: PooledDialer;
  readonly access: AccessControl;
  /** Everything that ends with the broker. */
  readonly parts: AsyncDisposableStack;
}

export class Broker implements RunningBroker {
  readonly url: string;
  readonly isKnownCluster: RunningBroker['isKnownCluster'];
  readonly accept: (socket: Socket) => void;
  readonly dialer: PooledDialer;
  readonly gatewayDialer: PooledDialer;
  readonly makeTokenDialer: RunningBroker['makeTokenDialer'];
  readonly localAgents: LocalAgents;
  readonly rules: WatchedAuthorizer | undefined;
  readonly hubCluster: HubCluster | undefined;
  readonly #drainTimeoutMs: number;
  readonly #relay: Relay;
  readonly #parts: AsyncDisposableStack;
  #closing: Promise<void> | undefined;

  constructor({ drainTimeoutMs, tlsCert }: BrokerOptions, own: BrokerOwnParts) {
    this.#drainTimeoutMs = drainTimeoutMs;
    this.#relay = own.relay;
    this.#parts = own.parts;
    this.isKnownCluster = own.isKnownCluster;
    this.dialer = own.dialer;
    this.gatewayDialer = own.gatewayDialer;
    this.makeTokenDialer = own.makeTokenDialer;
    this.localAgents = own.localAgents;
    this.rules = own.access.rules;
    this.hubCluster = own.access.hubCluster;
    const scheme = tlsCert === undefined ? 'ws' : 'wss';
    const { listener } = own;
    this.url = 'address' in listener ? `${scheme}://${formatHostPort(listener.address)}` : '';
    this.accept = (socket) => {
      if ('accept' in listener) listener.accept(socket);
      else socket.destroy();
    };
  }

  get agentCount(): number {
    const names = new Set<string>();
    for (const { cluster, agent, isStandby } of this.#relay.agents()) {
      if (!isStandby) names.add(`${cluster}/${agent}`);
    }
    return names.size;
  }

  get unready(): string | undefined {
    return this.#relay.unready;
  }

  async drain(signal: AbortSignal, users?: Promise<unknown>): Promise<void> {
    // The streams of bridge and gateway in this process end with it. Agents must learn that before
    // their tunnels close.
    const closeDialers = (): void =>
      [this.dialer, this.gatewayDialer].forEach((own) => own.close());
    signal.addEventListener('abort', closeDialers, { once: true });
    await this.#relay.drain(signal, this.#drainTimeoutMs, users);
    await this.close();
  }

  close(): Promise<void> {
    this.#closing ??= this.#parts.disposeAsync();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
