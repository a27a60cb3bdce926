import type { Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { AttachableLink, Link, LinkOwner } from '../tunnel/link.ts';
import { decodeHello, encodeMessage, protocolVersion, type GoAway } from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { AgentConnection } from './agent-connection.ts';
import { DialRate } from './dial-rate.ts';
import type { AgentCriteria, AgentRecord } from './directory.ts';
import { ForwardedConnection, type ForwardedDialer } from './forwarded-connection.ts';
import { ReadingPauses } from './reading-pauses.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import type { Route, RouteRequest } from './router.ts';

/** What a dialer's link needs of the relay. */
export interface DialerRelay {
  readonly options: RelayOptions;
  readonly draining: boolean;
  route(request: RouteRequest, signal: AbortSignal): Promise<Route>;
  /** How many other agents of its cluster this broker knows. */
  countOtherAgents(agent: AgentConnection): number;
  onDialerClosed(dialer: DialerConnection): void;
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}

/** The dialer and the cluster that it dials. */
export interface DialerName {
  readonly cluster: string;
  readonly dialer: string;
  /** Another replica forwarded the session, so this replica does not forward it again. */
  readonly forwarded?: boolean;
  /** The dialer is in the broker's process, which takes its sessions while it drains. */
  readonly isLocal?: boolean;
  /** Watches the link for the loss of the dialer's rights. Returns the end of the watch. */
  readonly watch?: ((link: Link) => () => void) | undefined;
  /** The dialer is a gateway, which may ask for the agent's credentials. */
  readonly isGateway?: boolean;
}

/** The session that a dialer asks for. */
interface RequestedSession {
  readonly id: string;
  readonly criteria: AgentCriteria;
  /** The payload of HELLO, for the replica that holds the tunnel. */
  readonly hello: Uint8Array;
  /** A tunnel whose replica failed to take the session. */
  readonly except?: AgentRecord;
}

type State =
  /** HELLO has not come. */
  | { readonly kind: 'greeting'; readonly timer: Timer }
  /** A tunnel for the session is being looked for. */
  | { readonly kind: 'routing' }
  /** The agent's tunnel is here. */
  | { readonly kind: 'attached'; readonly agent: AgentConnection; readonly session: number }
  /** The agent's tunnel is at another replica, `owner`. */
  | {
      readonly kind: 'forwarding';
      readonly to: ForwardedConnection;
      readonly owner: AgentRecord;
      readonly requested: RequestedSession;
    }
  | { readonly kind: 'closed' };

const routing: State = { kind: 'routing' };
const closed: State = { kind: 'closed' };

/** The broker's end of a dialer's link: one session with one agent of one cluster. */
export class DialerConnection implements LinkOwner, ForwardedDialer {
  readonly link: Link;
  readonly cluster: string;
  readonly dialer: string;
  readonly isGateway: boolean;
  readonly pauses: ReadingPauses;
  queuedControlBytes = 0;
  readonly #forwarded: boolean;
  readonly #isLocal: boolean;
  readonly #relay: DialerRelay;
  readonly #log: Logger;
  readonly #dialRate: DialRate;
  readonly #endWatch: (() => void) | undefined;
  #state: State;
  /** Aborts when the link is gone. */
  readonly #gone = new AbortController();

  /** @param attached takes back a session whose number both ends know */
  constructor(
    relay: DialerRelay,
    link: Link,
    { cluster, dialer, watch, ...name }: DialerName,
    attached?: { readonly agent: AgentConnection; readonly session: number },
  ) {
    const { clock, log } = relay.options;
    this.#relay = relay;
    this.link = link;
    this.cluster = cluster;
    this.dialer = dialer;
    this.isGateway = name.isGateway ?? false;
    this.#forwarded = name.forwarded ?? false;
    this.#isLocal = name.isLocal ?? false;
    this.#endWatch = watch?.(link);
    this.#log = log.child({ cluster, dialer, peer: link.peer });
    this.pauses = new ReadingPauses(link);
    this.#dialRate = new DialRate(this.pauses, clock);
    if (attached !== undefined) {
      this.#state = { kind: 'attached', ...attached };
      attached.agent.sessions.restore(this, attached.session);
      return;
    }
    const timer = clock.setTimer(relayLimits.helloTimeoutMs, () =>
      link.close(new TunnelError('protocol_error', 'no HELLO came in time')),
    );
    this.#state = { kind: 'greeting', timer };
  }

  /** The agent is at another replica. */
  get isForwarding(): boolean {
    return this.#state.kind === 'forwarding';
  }

  sendGoAway(deadlineMs: number, scope: GoAway['scope']): void {
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0, scope });
    this.link.sendCopy(FrameType.goaway, 0, 0, goAway);
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    if (this.#state.kind === 'forwarding') {
      return this.#state.to.send(FrameType.data, session, stream, bytes);
    }
    const agent = this.#agentOf(session);
    this.#relay.relay(agent.link, FrameType.data, session, stream, bytes);
    agent.sessions.pauseWhileFull(this);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (type === FrameType.open) this.#dialRate.count();
    if (this.#state.kind === 'forwarding') {
      return this.#state.to.send(type, session, stream, payload);
    }
    if (session === 0) return this.#onLinkFrame(type, payload);
    const agent = this.#agentOf(session);
    if (type < FrameType.open && type !== FrameType.ping && type !== FrameType.pong) {
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
    this.#relay.relay(agent.link, type, session, stream, payload);
    agent.sessions.pauseWhileFull(this);
  }

  pull(): void {
    this.queuedControlBytes = 0;
    // An agent's tunnel cannot be paused for one of many dialers, but a forwarded link carries this
    // session alone.
    if (this.#state.kind === 'forwarding') this.#state.to.resume();
  }

  onForwardClosed(error: TunnelError | undefined): void {
    const state = this.#state;
    // `no_agent` comes before WELCOME only. After WELCOME, the owner's end of the session would be
    // lost.
    if (error?.code === 'no_agent' && state.kind === 'forwarding') {
      return this.#onOwnerFailed(state.owner, state.requested, error);
    }
    const lost =
      error ?? new TunnelError('link_lost', 'the replica that holds the agent closed the link');
    this.link.close(lost);
  }

  onClose(error: TunnelError | undefined): void {
    const state = this.#state;
    this.#state = closed;
    this.#gone.abort();
    this.#dialRate.cancel();
    this.#endWatch?.();
    if (state.kind === 'greeting') state.timer.cancel();
    if (state.kind === 'attached') state.agent.sessions.detach(state.session, error);
    if (state.kind === 'forwarding') state.to.close(error);
    this.#relay.onDialerClosed(this);
    const session = state.kind === 'attached' ? state.session : 0;
    this.#log.info('dialer left', { session, code: error?.code, error: error?.message });
  }

  /**
   * The agent, if the frame belongs to this link's session. A frame of another session ends the
   * link.
   */
  #agentOf(session: number): AgentConnection {
    const state = this.#state;
    if (state.kind !== 'attached' || session !== state.session) {
      throw new TunnelError('unknown_session', `session ${session} is not the one of this link`);
    }
    return state.agent;
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.hello:
        return this.#onHello(payload);
      case FrameType.ping:
        return answerPing(this.link, payload);
      default:
        throw new TunnelError('protocol_error', `a dialer does not send ${frameName(type)}`);
    }
  }

  #onHello(payload: Uint8Array): void {
    const hello = decodeHello(payload);
    if (hello.session === undefined) {
      throw new TunnelError('protocol_error', 'HELLO of a dialer names no session');
    }
    if (this.#state.kind !== 'greeting') throw new TunnelError('protocol_error', 'a second HELLO');
    this.#state.timer.cancel();
    const { session: id, resume: agent, instance, zone, excludedAgents: excluded } = hello;
    const criteria =
      agent === undefined ? { excluded, zone } : { process: { agent, instance }, zone };
    this.#findAgent({ id, criteria, hello: new Uint8Array(payload) });
  }

  #findAgent(requested: RequestedSession): void {
    this.#state = routing;
    this.#route(requested).catch((thrown: unknown) => this.link.close(TunnelError.from(thrown)));
  }

  async #route(requested: RequestedSession): Promise<void> {
    const { criteria, except } = requested;
    const { cluster } = this;
    const [forwarded, isLocal] = [this.#forwarded, this.#isLocal];
    const route = await this.#relay.route(
      { ...criteria, cluster, forwarded, isLocal, except },
      this.#gone.signal,
    );
    if (this.#gone.signal.aborted) return;
    if (route.kind === 'remote') await this.#forward(route.owner, requested);
    else this.#attach(route.agent, requested);
  }

  #attach(agent: AgentConnection, { id, criteria }: RequestedSession): void {
    const { cluster, dialer } = this;
    const { replica, sessionLimits, onSnapshot } = this.#relay.options;
    const session = agent.sessions.attach(this, id, criteria.process !== undefined);
    this.#state = { kind: 'attached', agent, session };
    const { agent: agentId, instance, tunnel, zone, retireDeadlineMs } = agent;
    const reached = instance === undefined ? { agent: agentId } : { agent: agentId, instance };
    const welcome = {
      ...{ ...protocolVersion, replica, session, ...reached, ...sessionLimits },
      ...(zone === undefined ? {} : { zone }),
      otherAgents: this.#relay.countOtherAgents(agent),
    };
    this.link.sendCopy(FrameType.welcome, 0, 0, encodeMessage(welcome));
    if (retireDeadlineMs !== undefined) this.sendGoAway(retireDeadlineMs, 'broker');
    onSnapshot?.(this.link, {
      kind: 'dialer',
      cluster,
      dialer,
      forwarded: this.#forwarded,
      session,
      ...reached,
      tunnel,
      epoch: agent.claim.epoch,
    });
    this.#log.info('dialer attached', { session, agent: agentId });
  }

  async #forward(owner: AgentRecord, requested: RequestedSession): Promise<void> {
    const { cluster, dialer: name, isGateway } = this;
    let link: AttachableLink;
    try {
      link = await this.#relay.options.forward!(owner, { cluster, name, isGateway });
    } catch (thrown) {
      return this.#onOwnerFailed(owner, requested, TunnelError.from(thrown));
    }
    // The drain has not told this dialer to move, because its session was not forwarded yet.
    const isLate = this.#relay.draining && !this.#isLocal;
    if (isLate) this.link.close(new TunnelError('draining', 'this broker is shutting down'));
    if (isLate || this.#gone.signal.aborted) return link.close();
    const to = new ForwardedConnection(this.#relay, link, this);
    this.#state = { kind: 'forwarding', to, owner, requested };
    to.send(FrameType.hello, 0, 0, requested.hello);
    this.#log.info('dialer forwarded', { owner: owner.replica, agent: owner.agent });
  }

  /**
   * The replica that the directory named is gone, or does not have the agent any more. Another one
   * is tried, once.
   */
  #onOwnerFailed(owner: AgentRecord, requested: RequestedSession, error: TunnelError): void {
    this.#relay.options.directory.invalidate(owner);
    this.#log.warn('replica did not take the session', {
      owner: owner.replica,
      address: owner.address,
      code: error.code,
      error: error.message,
    });
    if (this.#gone.signal.aborted) return;
    if (requested.except !== undefined) return this.link.close(error);
    this.#findAgent({ ...requested, except: owner });
  }
}
