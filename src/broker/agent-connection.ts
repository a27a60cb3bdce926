import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameName } from '../tunnel/frame.ts';
import type { Link, LinkOwner } from '../tunnel/link.ts';
import { decodeHello, encodeMessage, protocolVersion, type Hello } from '../tunnel/message.ts';
import { answerPing } from '../tunnel/ping.ts';
import type { AdmittedAgent } from './admitted-client.ts';
import { agentLoss } from './agent-loss.ts';
import type { AgentRelay } from './agent-relay.ts';
import { AttachedSessions } from './attached-sessions.ts';
import type { AgentClaim } from './directory.ts';
import { LivenessCheck } from './liveness-check.ts';
import { mayQueueControl } from './queued-control.ts';
import { relayLimits } from './relay-options.ts';
import type { AgentSnapshot } from './snapshots.ts';
import type { AgentStatus } from './status.ts';
import { TunnelClaim } from './tunnel-claim.ts';
import { tunnelKey, type TunnelName } from './tunnel-name.ts';
import { closed, leaving, serving, type TunnelState } from './tunnel-state.ts';

/** The broker's end of an agent's tunnel. It carries every dialer's session with this agent. */
export class AgentConnection implements LinkOwner, TunnelName {
  readonly link: Link;
  readonly cluster: string;
  readonly agent: string;
  readonly instance: string | undefined;
  readonly tunnel: number;
  /** The agent gets new sessions only if its cluster has no other one. */
  readonly isStandby: boolean;
  /** `tunnelKey` of this tunnel. */
  readonly key: string;
  readonly #relay: AgentRelay<AgentConnection>;
  /** The tunnel's claim in the directory. */
  readonly claim: TunnelClaim;
  readonly sessions: AttachedSessions;
  /** Made for the first check, because most tunnels are never checked. */
  #liveness: LivenessCheck | undefined;
  readonly #connectedAtMs: number;
  #state: TunnelState;
  #hello: Pick<AgentSnapshot, 'software' | 'zone'> & Pick<Hello, 'source'> = { software: '' };
  /** By the relay's clock; Infinity before the claim is made. */
  #establishedAtMs = Infinity;

  /** @param snapshot takes back a tunnel of an earlier relay; its agent knows the tunnel */
  constructor(
    relay: AgentRelay<AgentConnection>,
    link: Link,
    name: TunnelName & Pick<AdmittedAgent, 'standby'>,
    snapshot?: AgentSnapshot,
  ) {
    const { clock, directory } = relay.options;
    this.#relay = relay;
    this.link = link;
    this.cluster = name.cluster;
    this.agent = name.agent;
    this.instance = name.instance;
    this.tunnel = name.tunnel;
    this.isStandby = name.standby === true;
    this.key = tunnelKey(name);
    this.claim = new TunnelClaim(directory);
    this.sessions = new AttachedSessions(link);
    this.#connectedAtMs = snapshot?.connectedAtMs ?? Date.now();
    if (snapshot !== undefined) {
      this.#establishedAtMs = -Infinity;
      this.#hello = snapshot;
      this.#state = snapshot.leaving ? leaving : serving;
      const { epoch } = snapshot;
      this.claim.restore(epoch, snapshot.leaving ? undefined : { ...this.#ownClaim, epoch });
      return;
    }
    const timer = clock.setTimer(relayLimits.helloTimeoutMs, () =>
      link.close(new TunnelError('protocol_error', 'no HELLO came in time')),
    );
    this.#state = { kind: 'greeting', timer };
  }

  /** How long the tunnel has been established, in milliseconds; negative before that. */
  get establishedForMs(): number {
    return this.#relay.options.clock.now() - this.#establishedAtMs;
  }

  /** The agent takes no new sessions. Sessions that it has already may come back. */
  get leaving(): boolean {
    return this.#state.kind === 'leaving';
  }

  /** Retiring: the sessions must move within this time from GOAWAY, in milliseconds. */
  get retireDeadlineMs(): number | undefined {
    return 'deadlineMs' in this.#state ? this.#state.deadlineMs : undefined;
  }

  get retiring(): boolean {
    return this.retireDeadlineMs !== undefined;
  }

  /** The tunnel closes once its sessions have left. */
  get draining(): boolean {
    return 'deadlineMs' in this.#state;
  }

  /** The zone of the agent; undefined: it does not tell. */
  get zone(): string | undefined {
    return this.#hello.zone;
  }

  get closed(): boolean {
    return this.#state.kind === 'closed';
  }

  /** Until the process proves that it is alive, new sessions prefer other tunnels. */
  get livenessPending(): boolean {
    return this.#liveness?.pending === true;
  }

  get status(): AgentStatus {
    return {
      agent: this.agent,
      software: this.#hello.software,
      connectedAt: new Date(this.#connectedAtMs).toISOString(),
      sessions: this.sessions.size,
      draining: this.draining,
    };
  }

  /**
   * Another process with the same agent id has connected, perhaps this process after a restart. A
   * process that answers keeps its tunnel. A process that does not answer loses its tunnel and its
   * sessions.
   */
  checkAlive(): void {
    if (this.draining || this.closed) return;
    this.#liveness ??= new LivenessCheck(this.link, this.#relay.options.clock);
    this.#liveness.start(
      () => this.#relay.onSharedId(this),
      () => {
        const { livenessTimeoutMs } = relayLimits;
        const sentence = `agent ${this.agent} was restarted, and this process does not answer within ${livenessTimeoutMs} ms`;
        this.link.close(new TunnelError('agent_lost', sentence));
      },
    );
  }

  /**
   * Gives the tunnel up in order: the agent makes another tunnel, its dialers move their sessions
   * there, and then the agent closes this one. Until then it can be found, so the cluster stays
   * reachable. For a broker that drains, and for a tunnel at its age limit.
   */
  retire(deadlineMs: number): void {
    if (this.#state.kind !== 'serving') return;
    this.#state = { kind: 'retiring', deadlineMs };
    this.#relay.ageLimits.cancel(this);
    this.#closeIfFailed(this.claim.retire());
    const goAway = encodeMessage({ deadlineMs, retryAfterMs: 0, scope: 'broker' });
    this.link.sendCopy(FrameType.goaway, 0, 0, goAway);
    this.sessions.sendGoAway(deadlineMs, 'broker');
    this.#log.info('tunnel retires', { deadlineMs, sessions: this.sessions.size });
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    const dialer = this.sessions.get(session);
    if (dialer === undefined) return void this.#relay.droppedFrames++;
    this.#relay.relay(dialer.link, FrameType.data, session, stream, bytes);
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (session === 0) return this.#onLinkFrame(type, payload);
    const dialer = this.sessions.get(session);
    if (dialer === undefined) return void this.#relay.droppedFrames++;
    if (type === FrameType.detach) return this.sessions.onDetach(session, dialer, payload);
    if (type < FrameType.open && type !== FrameType.ping && type !== FrameType.pong) {
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
    if (dialer.link.room <= 0 && !mayQueueControl(dialer, type, payload.length)) return;
    this.#relay.relay(dialer.link, type, session, stream, payload);
  }

  pull(): void {
    this.sessions.resume();
  }

  onClose(error: TunnelError | undefined): void {
    if (this.#state.kind === 'greeting') this.#state.timer.cancel();
    this.#state = closed;
    this.claim.end();
    this.#liveness?.cancel();
    this.#relay.unregister(this);
    this.#log.info('agent disconnected', { code: error?.code, error: error?.message });
    const hasOthers = this.#relay.hasOtherAgents(this);
    this.sessions.close(agentLoss(this, error, this.#hello.source, hasOthers));
    this.#withdraw();
  }

  #onLinkFrame(type: FrameType, payload: Uint8Array): void {
    switch (type) {
      case FrameType.hello:
        return this.#onHello(payload);
      case FrameType.ping:
        return answerPing(this.link, payload);
      case FrameType.pong:
        return this.#liveness?.answered();
      case FrameType.goaway:
        return this.#onGoAway();
      default:
        throw new TunnelError('protocol_error', `an agent does not send ${frameName(type)}`);
    }
  }

  #onHello(payload: Uint8Array): void {
    const hello = decodeHello(payload);
    if (this.#state.kind !== 'greeting') throw new TunnelError('protocol_error', 'a second HELLO');
    this.#state.timer.cancel();
    this.#state = serving;
    this.#hello = hello;
    this.#closeIfFailed(this.#register());
  }

  async #register(): Promise<void> {
    // Other replicas learn of the claim before its answer arrives here. The sessions that they send
    // in the meantime must find that the claim is on its way.
    this.#relay.register(this);
    if (!(await this.claim.make(this.#ownClaim))) return;
    const { clock, replica, sessionLimits } = this.#relay.options;
    this.#establishedAtMs = clock.now();
    if (this.leaving) this.#withdraw();
    else if (this.retiring) this.#closeIfFailed(this.claim.retire());
    else this.#relay.ageLimits.start(this);
    const { agent } = this;
    const welcome = { ...protocolVersion, replica, session: 0, agent, ...sessionLimits };
    this.link.sendCopy(FrameType.welcome, 0, 0, encodeMessage(welcome));
    this.#takeSnapshot();
    this.#log.info('agent connected', { software: this.#hello.software });
    this.#relay.onAgentEstablished(this);
  }

  #onGoAway(): void {
    if (this.#state.kind === 'greeting') {
      throw new TunnelError('protocol_error', 'GOAWAY came before HELLO');
    }
    // Without this check, each GOAWAY of an agent would send one to every dialer.
    if (this.leaving) return;
    this.#log.info('agent drains');
    const { retireDeadlineMs } = this;
    this.#state =
      retireDeadlineMs === undefined ? leaving : { kind: 'leaving', deadlineMs: retireDeadlineMs };
    this.#relay.onAgentLeaving(this);
    this.#withdraw();
    if (this.claim.established) this.#takeSnapshot();
    this.sessions.sendGoAway(0, 'agent');
  }

  /** From now on the tunnel cannot be found. Idempotent. */
  #withdraw(): void {
    this.#relay.ageLimits.cancel(this);
    this.#closeIfFailed(this.claim.withdraw());
  }

  get #ownClaim(): AgentClaim {
    const { cluster, agent, instance, tunnel } = this;
    const { replica, address } = this.#relay.options;
    const process = instance === undefined ? { agent } : { agent, instance };
    const { zone, isStandby } = this;
    return {
      ...{ cluster, ...process, tunnel, replica, address },
      ...(zone !== undefined && { zone }),
      ...(isStandby && { standby: true }),
    };
  }

  #takeSnapshot(): void {
    const { cluster, agent, instance, tunnel } = this;
    this.#relay.options.onSnapshot?.(this.link, {
      kind: 'agent',
      cluster,
      agent,
      instance,
      tunnel,
      epoch: this.claim.epoch,
      ...{ software: this.#hello.software, zone: this.zone },
      connectedAtMs: this.#connectedAtMs,
      leaving: this.leaving,
    });
  }

  #closeIfFailed(work: Promise<void>): void {
    work.catch((thrown: unknown) => {
      const error = TunnelError.from(thrown);
      this.#log.error('directory failed', { code: error.code, error: error.message });
      this.link.close(error);
    });
  }

  /** Made for each line, because a tunnel logs few lines and there are thousands of tunnels. */
  get #log(): Logger {
    const { cluster, agent, tunnel, link } = this;
    return this.#relay.options.log.child({ cluster, agent, tunnel, peer: link.peer });
  }
}
