import type { Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { AttachableLink, Link, LinkOwner } from '../tunnel/link.ts';
import { decodeHello, encodeMessage, protocolVersion, type GoAway } from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { AgentConnection } from './agent-connection.ts';
import type { AgentProcess, AgentRecord } from './directory.ts';
import { ForwardedConnection, type ForwardedDialer } from './forwarded-connection.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import type { Route, RouteRequest } from './router.ts';

/** What a dialer's link needs of the hub. */
export interface DialerRelay {
  readonly options: RelayOptions;
  route(wish: RouteRequest, signal: AbortSignal): Promise<Route>;
  onDialerClosed(port: DialerConnection): void;
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}

/** Who dials what. */
export interface DialerName {
  readonly cluster: string;
  readonly dialer: string;
  /** Another replica sent it here: it is not sent on. */
  readonly forwarded: boolean;
}

/** What of a dialer's link must outlive the memory of the relay, once its session is attached. */
export interface DialerSnapshot extends DialerName {
  readonly role: 'dialer';
  readonly session: number;
  /** The tunnel that carries the session. */
  readonly agent: string;
  readonly instance?: string | undefined;
  readonly tunnel: number;
  readonly epoch: number;
}

/** The session that a dialer asks for: its name, and the agent's process that has it already. */
interface WantedSession {
  readonly id: string;
  readonly process: AgentProcess | undefined;
  /** HELLO as it came, for the owner. */
  readonly hello: Uint8Array;
  /** A tunnel whose replica was asked in vain. */
  readonly except?: AgentRecord;
}

interface AskedOwner {
  readonly owner: AgentRecord;
  readonly wanted: WantedSession;
}

/** The broker's end of a dialer's link: one session with one agent of one cluster. */
export class DialerConnection implements LinkOwner, ForwardedDialer {
  readonly link: Link;
  readonly cluster: string;
  readonly dialer: string;
  queuedControlBytes = 0;
  readonly #forwarded: boolean;
  readonly #relay: DialerRelay;
  readonly #log: Logger;
  #helloTimer: Timer | undefined;
  #dialsLeft: number = relayLimits.dialBurst;
  #dialsCountedAtMs = 0;
  #dialPause: Timer | undefined;
  #agent: AgentConnection | undefined;
  #session = 0;
  /** The way to the replica that holds the agent; then `#agent` is not here. */
  #forward: ForwardedConnection | undefined;
  /** The replica that was asked to take the session, and what for. */
  #asked: AskedOwner | undefined;
  #gone = false;
  /** Aborts when the link is gone. */
  readonly #left = new AbortController();

  /** @param attached the session has been attached before, and both ends know its number */
  constructor(
    relay: DialerRelay,
    link: Link,
    { cluster, dialer, forwarded }: DialerName,
    attached?: { readonly agent: AgentConnection; readonly session: number },
  ) {
    this.#relay = relay;
    this.link = link;
    this.cluster = cluster;
    this.dialer = dialer;
    this.#forwarded = forwarded;
    this.#log = relay.options.log.child({ cluster, dialer, peer: link.peer });
    if (attached !== undefined) {
      this.#agent = attached.agent;
      this.#session = attached.session;
      attached.agent.adopt(this, attached.session);
      return;
    }
    this.#helloTimer = relay.options.clock.setTimer(relayLimits.helloTimeoutMs, () =>
      link.close(new TunnelError('protocol_error', 'no HELLO came in time')),
    );
  }

  /** The agent is at another replica. */
  get forwards(): boolean {
    return this.#forward !== undefined;
  }

  sendGoAway(deadlineMs: number, scope: GoAway['scope']): void {
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0, scope });
    this.link.sendCopy(FrameType.goaway, 0, 0, goAway);
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    if (this.#forward !== undefined) {
      return this.#forward.send(FrameType.data, session, stream, bytes);
    }
    const agent = this.#own(session);
    this.#relay.relay(agent.link, FrameType.data, session, stream, bytes);
    agent.pauseWhileFull(this);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (type === FrameType.open) this.#limitDials();
    if (this.#forward !== undefined) return this.#forward.send(type, session, stream, payload);
    if (session === 0) return this.#onLinkFrame(type, payload);
    const agent = this.#own(session);
    if (type < FrameType.open && type !== FrameType.ping && type !== FrameType.pong) {
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
    this.#relay.relay(agent.link, type, session, stream, payload);
    agent.pauseWhileFull(this);
  }

  pull(): void {
    this.queuedControlBytes = 0;
    // Frames for a dialer are pushed by its agent's tunnel, which cannot be paused for one of many; a forwarded one can.
    this.#forward?.resume();
  }

  onForwardClosed(error: TunnelError | undefined): void {
    const asked = this.#asked;
    // Said before WELCOME only: afterwards the agent's end of the session would be known.
    if (error?.code === 'no_agent' && asked !== undefined) return this.#onOwnerFailed(asked, error);
    const lost =
      error ?? new TunnelError('link_lost', 'the replica that holds the agent closed the link');
    this.link.close(lost);
  }

  onClose(error: TunnelError | undefined): void {
    this.#gone = true;
    this.#left.abort();
    this.#helloTimer?.cancel();
    this.#dialPause?.cancel();
    this.#agent?.detach(this.#session, error);
    this.#forward?.close(error);
    this.#relay.onDialerClosed(this);
    this.#log.info('dialer left', {
      session: this.#session,
      code: error?.code,
      error: error?.message,
    });
  }

  /** Stops reading for a moment from a dialer that dials faster than `relayLimits` allow. */
  #limitDials(): void {
    const { clock } = this.#relay.options;
    const { dialBurst, dialsPerSecond, dialPauseMs } = relayLimits;
    const nowMs = clock.now();
    const newDials = ((nowMs - this.#dialsCountedAtMs) / 1000) * dialsPerSecond;
    this.#dialsLeft = Math.min(dialBurst, this.#dialsLeft + newDials) - 1;
    this.#dialsCountedAtMs = nowMs;
    if (this.#dialsLeft > 0) return;
    this.link.pause();
    this.#dialPause ??= clock.setTimer(dialPauseMs, () => {
      this.#dialPause = undefined;
      this.link.resume();
    });
  }

  /** The agent, if the frame belongs to the session of this link. A number of somebody else ends the link. */
  #own(session: number): AgentConnection {
    if (this.#agent === undefined || session !== this.#session) {
      throw new TunnelError('unknown_session', `session ${session} is not the one of this link`);
    }
    return this.#agent;
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
    if (this.#helloTimer === undefined) throw new TunnelError('protocol_error', 'a second HELLO');
    this.#helloTimer.cancel();
    this.#helloTimer = undefined;
    const { session: id, resume: agent, instance } = hello;
    const process = agent === undefined ? undefined : { agent, instance };
    this.#place({ id, process, hello: new Uint8Array(payload) });
  }

  #place(wanted: WantedSession): void {
    this.#welcome(wanted).catch((thrown: unknown) => this.link.close(TunnelError.from(thrown)));
  }

  async #welcome(wanted: WantedSession): Promise<void> {
    const { cluster, dialer } = this;
    const { process, except } = wanted;
    const wish = { cluster, process, forwarded: this.#forwarded, except };
    const place = await this.#relay.route(wish, this.#left.signal);
    if (this.#gone) return;
    if ('elsewhere' in place) return this.#goElsewhere(place.elsewhere, wanted);
    const agent = place.here;
    this.#agent = agent;
    this.#session = agent.attach(this, wanted.id, process !== undefined);
    const { replica, sessionLimits, onSnapshot: keep } = this.#relay.options;
    const session = this.#session;
    const { instance, tunnel, epoch } = agent;
    const reached = instance === undefined ? {} : { instance };
    const welcome = {
      ...protocolVersion,
      replica,
      session,
      agent: agent.agent,
      ...reached,
      ...sessionLimits,
    };
    this.link.sendCopy(FrameType.welcome, 0, 0, encodeMessage(welcome));
    const { retireDeadlineMs } = agent;
    if (retireDeadlineMs !== undefined) this.sendGoAway(retireDeadlineMs, 'broker');
    const name = { role: 'dialer', cluster, dialer, forwarded: this.#forwarded } as const;
    keep?.(this.link, { ...name, session, agent: agent.agent, ...reached, tunnel, epoch });
    this.#log.info('dialer attached', { session: this.#session, agent: agent.agent });
  }

  async #goElsewhere(owner: AgentRecord, wanted: WantedSession): Promise<void> {
    const { cluster, dialer: name } = this;
    let link: AttachableLink;
    try {
      link = await this.#relay.options.forward!(owner, { cluster, name });
    } catch (thrown) {
      return this.#onOwnerFailed({ owner, wanted }, TunnelError.from(thrown));
    }
    if (this.#gone) return link.close();
    this.#forward = new ForwardedConnection(this.#relay, link, this);
    this.#asked = { owner, wanted };
    this.#forward.send(FrameType.hello, 0, 0, wanted.hello);
    this.#log.info('dialer forwarded', { owner: owner.replica, agent: owner.agent });
  }

  /** The replica that the directory named is gone, or does not have the agent any more: the next one, once. */
  #onOwnerFailed({ owner, wanted }: AskedOwner, error: TunnelError): void {
    this.#relay.options.directory.invalidate(owner);
    this.#log.warn('replica did not take the session', {
      owner: owner.replica,
      address: owner.address,
      code: error.code,
      error: error.message,
    });
    this.#forward = undefined;
    this.#asked = undefined;
    if (this.#gone) return;
    if (wanted.except !== undefined) return this.link.close(error);
    this.#place({ ...wanted, except: owner });
  }
}
