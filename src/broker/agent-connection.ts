import type { Timer } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { isResumable, TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameHeaderBytes, frameName } from '../tunnel/frame.ts';
import type { Link, LinkOwner } from '../tunnel/link.ts';
import {
  decodeFailure,
  decodeHello,
  encodeFailure,
  encodeMessage,
  protocolVersion,
  type GoAway,
} from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { AgentClaim } from './directory.ts';
import { relayLimits, type RelayOptions } from './relay-options.ts';
import { LivenessCheck } from './liveness-check.ts';
import { TunnelClaim } from './tunnel-claim.ts';
import { tunnelKey, type AgentSnapshot, type TunnelName } from './tunnel-name.ts';

/** What an agent's tunnel needs of the hub. */
export interface AgentRelay {
  readonly options: RelayOptions;
  droppedFrames: number;
  register(port: AgentConnection): void;
  unregister(port: AgentConnection): void;
  /** The agent takes no new sessions any more. */
  onAgentLeaving(port: AgentConnection): void;
  /** The tunnel's process lives, while another one with the same agent id is connected. */
  onSharedId(port: AgentConnection): void;
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}

/** What a tunnel knows of a dialer whose session it carries. */
interface SessionDialer {
  readonly link: Link;
  readonly dialer: string;
  /** Bytes of control frames that were queued since the dialer's link was last seen with room. */
  queuedControlBytes: number;
  sendGoAway(deadlineMs: number, scope: GoAway['scope']): void;
}

// Most tunnels have neither at any time; one that gets some makes its own.
const noSessions = new Map<number, SessionDialer>();
const noneWaiting = new Set<SessionDialer>();

/** The broker's end of an agent's tunnel: every dialer's session with this agent runs over it. */
export class AgentConnection implements LinkOwner {
  readonly link: Link;
  readonly cluster: string;
  readonly agent: string;
  readonly instance: string | undefined;
  readonly tunnel: number;
  readonly key: string;
  /** The agent asked not to get new sessions. */
  leaving = false;
  software = '';
  readonly #claim: TunnelClaim;
  readonly #liveness: LivenessCheck;
  readonly #connectedAtMs: number;
  /** By the hub's clock. */
  #establishedAtMs = Infinity;
  readonly #relay: AgentRelay;
  #sessions = noSessions;
  /** Dialers whose links are paused until the tunnel has room again. */
  #waiting = noneWaiting;
  #helloTimer: Timer | undefined;
  #ageTimer: Timer | undefined;
  #retireDeadlineMs: number | undefined;
  closed = false;

  /** @param kept the tunnel has stood before, and its agent knows */
  constructor(relay: AgentRelay, link: Link, name: TunnelName, kept?: AgentSnapshot) {
    this.#relay = relay;
    this.link = link;
    this.cluster = name.cluster;
    this.agent = name.agent;
    this.instance = name.instance;
    this.tunnel = name.tunnel;
    this.key = tunnelKey(name);
    this.#claim = new TunnelClaim(relay.options.directory);
    this.#liveness = new LivenessCheck(link, relay.options.clock);
    this.#connectedAtMs = kept?.connectedAtMs ?? Date.now();
    if (kept !== undefined) {
      this.#establishedAtMs = -Infinity;
      const { epoch, leaving } = kept;
      this.software = kept.software;
      this.leaving = leaving;
      this.#claim.restore(epoch, leaving ? undefined : { ...this.#ownClaim, epoch });
      return;
    }
    this.#helloTimer = relay.options.clock.setTimer(relayLimits.helloTimeoutMs, () =>
      link.close(new TunnelError('protocol_error', 'no HELLO came in time')),
    );
  }

  /** Of this tunnel's claim in the directory; 0 before it is made. */
  get epoch(): number {
    return this.#claim.epoch;
  }

  /** Its claim is in the directory: sessions may be placed on it. */
  get established(): boolean {
    return this.#claim.established;
  }

  /** Resolves when the tunnel stands, or is gone before. */
  get claimed(): Promise<void> {
    return this.#claim.made;
  }

  get connectedAt(): Date {
    return new Date(this.#connectedAtMs);
  }

  /** This broker gives the tunnel up: its sessions are to move within this many milliseconds from when that was said. */
  get retireDeadlineMs(): number | undefined {
    return this.#retireDeadlineMs;
  }

  get retiring(): boolean {
    return this.#retireDeadlineMs !== undefined;
  }

  /** It closes once its sessions have left. */
  get draining(): boolean {
    return this.leaving || this.retiring;
  }

  get gone(): boolean {
    return this.closed;
  }

  /** How long sessions could be placed on it, in milliseconds; negative before that. */
  get establishedForMs(): number {
    return this.#relay.options.clock.now() - this.#establishedAtMs;
  }

  /** It has been asked whether it is alive: new sessions go to other tunnels, where there are some. */
  get livenessPending(): boolean {
    return this.#liveness.pending;
  }

  /**
   * Another process with the same agent id has connected: it may be this one after a restart. A process that answers keeps its
   * tunnel; one that does not loses it, and its sessions with it.
   */
  checkAlive(): void {
    if (this.draining || this.closed) return;
    this.#liveness.start(
      () => this.#relay.onSharedId(this),
      () => {
        const { livenessTimeoutMs } = relayLimits;
        const sentence = `agent ${this.agent} was started again, and this process does not answer within ${livenessTimeoutMs} ms`;
        this.link.close(new TunnelError('agent_lost', sentence));
      },
    );
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** A dialer's session begins: the agent hears ATTACH before any frame of it. */
  attach(dialer: SessionDialer, id: string, resume: boolean): number {
    let session = 0;
    while (session === 0 || this.#sessions.has(session)) {
      session = crypto.getRandomValues(new Uint32Array(1))[0]!;
    }
    this.adopt(dialer, session);
    const attach = encodeMessage({ dialer: dialer.dialer, session: id, resume });
    this.#tell(FrameType.attach, session, attach);
    return session;
  }

  /** A dialer's session that the agent knows already, under this number. */
  adopt(dialer: SessionDialer, session: number): void {
    if (this.#sessions === noSessions) this.#sessions = new Map();
    this.#sessions.set(session, dialer);
  }

  /** A dialer's session ends. Idempotent. */
  detach(session: number, error: TunnelError | undefined): void {
    const dialer = this.#sessions.get(session);
    if (dialer === undefined) return;
    this.#sessions.delete(session);
    this.#waiting.delete(dialer);
    const why = error ?? new TunnelError('cancelled', 'the dialer left');
    this.#tell(FrameType.detach, session, encodeFailure(why));
  }

  /** Stops reading from a dialer until the tunnel has room: its frames all go into this tunnel. */
  pauseWhileFull(dialer: SessionDialer): void {
    if (this.link.room > 0) return;
    // Also one that waits already: whoever limits its dials may have resumed it.
    dialer.link.pause();
    if (this.#waiting.has(dialer)) return;
    if (this.#waiting === noneWaiting) this.#waiting = new Set();
    this.#waiting.add(dialer);
    this.link.wake();
  }

  /**
   * Gives the tunnel up in order: the agent makes another one, its dialers move their sessions there, and then it closes.
   * Until then it can be found, so that there is always a way to the cluster. For a broker that drains, and for a tunnel
   * that has lived long enough.
   */
  retire(deadlineMs: number): void {
    if (this.leaving || this.retiring) return;
    this.#retireDeadlineMs = deadlineMs;
    this.#ageTimer?.cancel();
    this.#settle(this.#claim.retire());
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0, scope: 'broker' });
    this.link.sendCopy(FrameType.goaway, 0, 0, goAway);
    for (const dialer of this.#sessions.values()) dialer.sendGoAway(deadlineMs, 'broker');
    this.#log.info('tunnel retires', { deadlineMs, sessions: this.#sessions.size });
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    const dialer = this.#sessions.get(session);
    if (dialer === undefined) return this.#unknownSession();
    this.#relay.relay(dialer.link, FrameType.data, session, stream, bytes);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (session === 0) return this.#onLinkFrame(type, payload);
    const dialer = this.#sessions.get(session);
    if (dialer === undefined) return this.#unknownSession();
    if (type === FrameType.detach) return this.#onDetach(session, dialer, payload);
    if (type < FrameType.open && type !== FrameType.ping && type !== FrameType.pong) {
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
    if (dialer.link.room <= 0 && !this.#mayQueue(dialer, type, payload)) return;
    this.#relay.relay(dialer.link, type, session, stream, payload);
  }

  pull(): void {
    for (const dialer of this.#waiting) {
      this.#waiting.delete(dialer);
      dialer.link.resume();
    }
  }

  onClose(error: TunnelError | undefined): void {
    this.closed = true;
    this.#claim.end();
    this.#helloTimer?.cancel();
    this.#ageTimer?.cancel();
    this.#liveness.cancel();
    this.#relay.unregister(this);
    this.#log.info('agent disconnected', { code: error?.code, error: error?.message });
    // Silence is a network that may come back; a connection that was closed is a process that may have died.
    const code = error?.code === 'peer_unresponsive' ? 'link_lost' : 'agent_lost';
    const sentence = `the agent of cluster ${this.cluster} was lost`;
    const lost = new TunnelError(code, sentence, { cause: error });
    for (const dialer of this.#sessions.values()) dialer.link.close(lost);
    this.#sessions.clear();
    this.#waiting.clear();
    this.#withdraw();
  }

  /** Not kept: it says a few lines in a tunnel's life, and there are thousands of tunnels. */
  get #log(): Logger {
    const { cluster, agent, tunnel, link } = this;
    return this.#relay.options.log.child({ cluster, agent, tunnel, peer: link.peer });
  }

  /** Sends what a dialer's coming and going makes us say. An agent that never reads it loses its tunnel. */
  #tell(type: FrameType, session: number, payload: Uint8Array): void {
    this.link.sendCopy(type, session, 0, payload);
    const { maxBacklogBytes } = relayLimits;
    if (this.link.room > -maxBacklogBytes) return;
    const sentence = `more than ${maxBacklogBytes} bytes wait for ${this.link.peer}`;
    this.link.close(new TunnelError('overloaded', sentence));
  }

  /**
   * Whether a control frame may wait for a dialer whose link is full. The dialer can make the agent send any number of them
   * without a window (an answer to each OPEN or PING), so they are limited apart from DATA.
   */
  #mayQueue(dialer: SessionDialer, type: FrameType, { length }: Uint8Array): boolean {
    // A PING or PONG that is lost delays a measurement and nothing else.
    if (type === FrameType.ping || type === FrameType.pong) return false;
    dialer.queuedControlBytes += frameHeaderBytes + length;
    const { maxQueuedControlBytes } = relayLimits;
    if (dialer.queuedControlBytes <= maxQueuedControlBytes) return true;
    const sentence = `more than ${maxQueuedControlBytes} bytes of control frames wait for ${dialer.link.peer}`;
    dialer.link.close(new TunnelError('overloaded', sentence));
    return false;
  }

  /** From now on the tunnel cannot be found. Idempotent. */
  #withdraw(): void {
    this.#ageTimer?.cancel();
    this.#settle(this.#claim.withdraw());
  }

  get #ownClaim(): AgentClaim {
    const { cluster, agent, instance, tunnel } = this;
    const { replica, address } = this.#relay.options;
    const process = instance === undefined ? { agent } : { agent, instance };
    return { cluster, ...process, tunnel, replica, address };
  }

  /** The agent will not have the session, or is done with it. */
  #onDetach(session: number, dialer: SessionDialer, payload: Uint8Array): void {
    const { code, message } = decodeFailure(FrameType.detach, payload);
    this.#sessions.delete(session);
    this.#waiting.delete(dialer);
    // The agent's word is final: a code that usually means "try again" must not make the dialer do so. From an agent that holds
    // as many sessions as it may, a dialer takes `overloaded` as final too.
    const isAgain = isResumable(code) && code !== 'overloaded';
    dialer.link.close(new TunnelError(isAgain ? 'unknown_session' : code, message));
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.hello:
        return this.#onHello(payload);
      case FrameType.ping:
        return answerPing(this.link, payload);
      case FrameType.pong:
        return this.#liveness.answered();
      case FrameType.goaway:
        // Repeated, it would be an answer to each dialer for every frame of the agent.
        if (this.leaving) return;
        this.#log.info('agent drains');
        this.leaving = true;
        this.#relay.onAgentLeaving(this);
        this.#withdraw();
        if (this.established) this.#keep();
        for (const dialer of this.#sessions.values()) dialer.sendGoAway(0, 'agent');
        return;
      default:
        throw new TunnelError('protocol_error', `an agent does not send ${frameName(type)}`);
    }
  }

  #onHello(payload: Uint8Array): void {
    const hello = decodeHello(payload);
    if (this.#helloTimer === undefined) throw new TunnelError('protocol_error', 'a second HELLO');
    this.#helloTimer.cancel();
    this.#helloTimer = undefined;
    this.software = hello.software;
    this.#settle(this.#register());
  }

  async #register(): Promise<void> {
    // Others learn of the claim before its answer is here: who they send meanwhile must find that it is on its way.
    this.#relay.register(this);
    if (!(await this.#claim.make(this.#ownClaim))) return;
    this.#establishedAtMs = this.#relay.options.clock.now();
    if (this.leaving) this.#withdraw();
    else if (this.retiring) this.#settle(this.#claim.retire());
    else this.#limitAge();
    const { replica, sessionLimits } = this.#relay.options;
    const { agent } = this;
    const welcome = { ...protocolVersion, replica, session: 0, agent, ...sessionLimits };
    this.link.sendCopy(FrameType.welcome, 0, 0, encodeMessage(welcome));
    this.#keep();
    this.#log.info('agent connected', { software: this.software });
  }

  /** Tunnels are made anew now and then, so that agents spread over replicas that were added later. */
  #limitAge(): void {
    const { ageJitter, retireMs } = relayLimits;
    const { maxTunnelAgeMs = relayLimits.maxTunnelAgeMs } = this.#relay.options;
    if (maxTunnelAgeMs === Infinity) return;
    const randomAgeMs = maxTunnelAgeMs * (1 + ageJitter * (2 * Math.random() - 1));
    // Whole seconds: Node keeps a list for each length of timer.
    const ageMs = Math.ceil(randomAgeMs / 1000) * 1000;
    this.#ageTimer = this.#relay.options.clock.setTimer(ageMs, () => {
      this.retire(retireMs);
      const late = new TunnelError('draining', 'this tunnel has been replaced');
      this.#ageTimer = this.#relay.options.clock.setTimer(retireMs, () => this.link.close(late));
    });
  }

  #keep(): void {
    const { cluster, agent, instance, tunnel, epoch, software, leaving } = this;
    const connectedAtMs = this.#connectedAtMs;
    const name = { role: 'agent', cluster, agent, instance, tunnel } as const;
    this.#relay.options.onSnapshot?.(this.link, {
      ...name,
      epoch,
      software,
      connectedAtMs,
      leaving,
    });
  }

  /** A session that has just ended may still have frames on the way: they are dropped, and counted. */
  #unknownSession(): void {
    this.#relay.droppedFrames++;
  }

  #settle(work: Promise<void>): void {
    work.catch((thrown: unknown) => {
      const error = TunnelError.from(thrown);
      this.#log.error('directory failed', { code: error.code, error: error.message });
      this.link.close(error);
    });
  }
}
