import { AgentTunnel } from '../../src/acceptor/agent-tunnel.ts';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { Forward } from '../../src/broker/relay-options.ts';
import { Relay } from '../../src/broker/relay.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { type TunnelLimits, defaultLimits } from '../../src/tunnel/limits.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { Session } from '../../src/tunnel/session.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { sampleTarget } from '../link/linked-sessions.ts';
import { RecordingStream, type SendPlan, VerbGuard } from '../stream/recording-stream.ts';
import { type DirectoryView, SimulatedDirectory, staleClaimMs } from './simulated-directory.ts';
import { type SimulatedLink, simulatedLinkPair } from '../link/simulated-link.ts';
import { VirtualClock } from '../clock/virtual-clock.ts';

const cluster = 'c1';

export const fleetLimits: TunnelLimits = {
  ...defaultLimits,
  initialWindowBytes: 32 * 1024,
  minWindowBytes: 4 * 1024,
  maxWindowBytes: 128 * 1024,
};

/** The same numbers again for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A place where brokers run: one process after another, under one name. */
export class Replica {
  readonly name: string;
  relay: Relay | undefined;
  /** It takes connections. */
  open = false;
  readonly links = new Set<SimulatedLink>();
  readonly #fleet: Fleet;
  #view: DirectoryView | undefined;

  constructor(fleet: Fleet, name: string) {
    this.#fleet = fleet;
    this.name = name;
  }

  start(): void {
    if (this.relay !== undefined) return;
    const { clock, directory } = this.#fleet;
    this.#view = directory.view();
    const forward: Forward = async (owner, dialer) => {
      const to = this.#fleet.replicas.find(({ name }) => name === owner.replica);
      if (to?.relay === undefined) throw new TunnelError('link_lost', `${owner.replica} is down`);
      const [near, far] = this.#fleet.link([this, to]);
      to.relay.admit(far, {
        kind: 'dialer',
        cluster: dialer.cluster,
        dialer: dialer.name,
        forwarded: true,
      });
      return near;
    };
    this.relay = new Relay({
      replica: this.name,
      address: `ws://${this.name}`,
      directory: this.#view,
      forward,
      clock,
      log: silentLogger,
    });
    this.open = true;
  }

  /** kill -9: what it holds is gone at once, and the directory notices later. */
  kill(): void {
    if (this.relay === undefined) return;
    const { clock, directory } = this.#fleet;
    this.#view!.die();
    this.relay = undefined;
    this.open = false;
    const claims = directory.claimsOf(this.name);
    clock.setTimer(staleClaimMs, () => claims.forEach((claim) => directory.release(claim)));
    for (const link of this.links) link.cut();
    this.links.clear();
  }

  /** SIGTERM: another process may take its place once it has gone. */
  async drain(deadlineMs: number): Promise<void> {
    const relay = this.relay;
    if (relay === undefined || !this.open) return;
    this.open = false;
    const deadline = new AbortController();
    const timer = this.#fleet.clock.setTimer(deadlineMs, () => deadline.abort());
    await relay.drain(deadline.signal, deadlineMs);
    timer.cancel();
    // The last messages are sent. Then the process exits, unless it was killed before.
    const isSent = Promise.withResolvers<void>();
    this.#fleet.clock.setTimer(100, isSent.resolve);
    await isSent.promise;
    if (this.relay === relay) this.kill();
  }
}

/** One process of an agent: it ends with its sessions and all that its targets were sent. */
export class AgentProcess {
  readonly id: string;
  readonly instance: string | undefined;
  readonly sessions: SessionStore;
  readonly pool = new SlabPool();
  readonly accepted: AcceptedHere[] = [];
  /** The hosts of all dials that reached this agent. */
  readonly dialedHosts: string[] = [];
  alive = true;
  readonly #fleet: Fleet;
  readonly #tunnels = new Set<AgentTunnel>();

  readonly zone: string | undefined;

  /** @param instance undefined: the agent does not tell one, as in culvert 0.1 */
  constructor(
    fleet: Fleet,
    id: string,
    tunnels: number,
    { instance, zone }: { instance: string | undefined; zone?: string | undefined },
  ) {
    this.#fleet = fleet;
    this.id = id;
    this.instance = instance;
    this.zone = zone;
    const { clock } = fleet;
    this.sessions = new SessionStore({
      clock,
      log: silentLogger,
      resumeGraceMs: fleetLimits.resumeGraceMs,
      makeSession: (log, events) =>
        new Session({
          clock,
          limits: fleetLimits,
          pool: this.pool,
          budget: new WindowBudget(2 ** 30),
          log,
          accept: ({ target }, stream) => {
            if (target.kind !== 'tcp') throw new Error(`unexpected target of kind ${target.kind}`);
            const accepted = new AcceptedHere(stream, fleet.guard);
            this.dialedHosts.push(target.host);
            const refusal = fleet.refuse(id, target.host);
            if (refusal !== undefined) stream.reset(refusal);
            else fleet.onAccept(accepted, target.host);
            this.accepted.push(accepted);
            return accepted;
          },
          ...events,
          onBroken: (error) => {
            fleet.broken.push(error);
            events.onBroken(error);
          },
        }),
    });
    for (let tunnel = 0; tunnel < tunnels; tunnel++) this.#connect(tunnel);
  }

  /** The process dies, and its system closes its connections. */
  kill(): void {
    this.alive = false;
    for (const tunnel of this.#tunnels) (tunnel.link as SimulatedLink).cut();
    this.sessions.close(new TunnelError('agent_lost', 'the process is dead'));
  }

  close(): void {
    this.alive = false;
    const error = new TunnelError('draining', 'the agent is shutting down');
    for (const tunnel of this.#tunnels) tunnel.leave(error);
    this.sessions.close(error);
  }

  #connect(tunnel: number): void {
    if (!this.alive) return;
    const replica = this.#fleet.anyReplica(tunnel);
    if (replica === undefined) return this.#connectLater(tunnel);
    const [near, far] = this.#fleet.link([replica], 'agent');
    replica.relay!.admit(far, {
      kind: 'agent',
      cluster,
      agent: this.id,
      tunnel,
      instance: this.instance,
    });
    let leaving = false;
    const made = new AgentTunnel(near, {
      software: 'simulated',
      zone: this.zone,
      sessions: this.sessions,
      onWelcome() {},
      onGoAway: () => {
        leaving = true;
        this.#connectLater(tunnel);
      },
      onClosed: () => {
        this.#tunnels.delete(made);
        if (!leaving) this.#connectLater(tunnel);
      },
    });
    this.#tunnels.add(made);
  }

  #connectLater(tunnel: number): void {
    if (!this.alive) return;
    const delayMs = this.#fleet.random() * this.#fleet.agentDelayMs;
    this.#fleet.clock.setTimer(delayMs, () => this.#connect(tunnel));
  }
}

/** A stream at an agent. */
export class AcceptedHere extends RecordingStream {
  readonly #stream: Stream;

  constructor(stream: Stream, guard: VerbGuard) {
    super(stream, 'agent', guard);
    this.#stream = stream;
  }

  accept(): void {
    this.#stream.accept();
  }
}

/** A stream of a dialer and the plan of both its ends. */
export interface Transfer {
  readonly dialed: RecordingStream;
  /** More than one where an agent that never answered is given up for another. */
  readonly accepted: AcceptedHere[];
  readonly back: SendPlan;
}

/** Brokers that share a directory, an agent and dialers, in the time of one clock. */
export class Fleet {
  readonly clock = new VirtualClock(20);
  readonly random: () => number;
  readonly directory = new SimulatedDirectory();
  readonly guard = new VerbGuard();
  readonly broken: TunnelError[] = [];
  readonly replicas: readonly Replica[];
  readonly transfers: Transfer[] = [];
  readonly agents: AgentProcess[] = [];
  readonly agentLinks: SimulatedLink[] = [];
  readonly dialerLinks: SimulatedLink[] = [];
  readonly dialers: readonly PooledDialer[];
  /** The longest delay before an agent connects again, in milliseconds. */
  agentDelayMs = 300;
  /** Whether an agent refuses a dial (default: it connects). */
  refuse: (agent: string, host: string) => TunnelError | undefined = () => undefined;
  readonly #tunnels: number;
  readonly #dialerZone: string | undefined;

  /** @param shape `zone` is that of the dialers */
  constructor(
    seed: number,
    shape: { replicas: number; tunnels: number; dialers: number; zone?: string },
  ) {
    this.#dialerZone = shape.zone;
    this.random = seededRandom(seed);
    this.#tunnels = shape.tunnels;
    this.replicas = Array.from({ length: shape.replicas }, (_, at) => new Replica(this, `r${at}`));
    for (const replica of this.replicas) replica.start();
    this.startAgent('agent-a');
    this.dialers = Array.from({ length: shape.dialers }, (_, at) => this.#dialer(`d${at}`));
  }

  get agent(): AgentProcess {
    return this.agents.at(-1)!;
  }

  /** @param tells false: the agent names no instance, as in culvert 0.1 */
  startAgent(id: string, tells = true, zone?: string): void {
    const instance = tells ? `process-${this.agents.length}` : undefined;
    this.agents.push(new AgentProcess(this, id, this.#tunnels, { instance, zone }));
  }

  /** Opens a stream that sends by its plan, and is sent `back`. */
  open(
    dialer: number,
    plan: SendPlan,
    back: SendPlan,
    timeoutMs = 10_000,
    host = `${this.transfers.length}`,
  ): Transfer {
    let recording: RecordingStream | undefined;
    // The handler is asked for before the stream is there.
    const handler: StreamHandler = {
      onOpened: () => recording!.onOpened(),
      onData: (bytes) => recording!.onData(bytes),
      onFin: () => recording!.onFin(),
      onWritable: () => recording!.onWritable(),
      onStop: () => recording!.onStop(),
      onClose: (error) => recording!.onClose(error),
    };
    const target = { ...sampleTarget, host };
    const stream: TunnelStream = this.dialers[dialer]!.open(
      { cluster, target, timeoutMs },
      handler,
    );
    recording = new RecordingStream(stream, 'dialer', this.guard);
    const transfer: Transfer = { dialed: recording, accepted: [], back };
    this.transfers.push(transfer);
    recording.send(plan);
    return transfer;
  }

  onAccept(accepted: AcceptedHere, host: string): void {
    const transfer = this.transfers[Number(host)];
    if (transfer === undefined) return accepted.accept();
    transfer.accepted.push(accepted);
    this.clock.setTimer(this.random() * 50, () => {
      accepted.accept();
      accepted.send(transfer.back);
    });
  }

  /** A link to the first replica, or between two. */
  link(between: readonly Replica[], of?: 'agent' | 'dialer'): [SimulatedLink, SimulatedLink] {
    const latencyMs = (): number => 1 + this.random() * 15;
    const pieceBytes = (): number => 1 + Math.floor(this.random() * 40_000);
    const bytesPerMs = 5_000;
    const pair = simulatedLinkPair(this.clock, {
      latencyMs,
      pieceBytes,
      bytesPerMs,
      roomBytes: 40_000,
    });
    for (const { links } of between) links.add(pair[0]);
    if (of === 'agent') this.agentLinks.push(pair[0]);
    if (of === 'dialer') this.dialerLinks.push(pair[0]);
    return pair;
  }

  /** A replica that accepts connections: `preferred` if it does. */
  anyReplica(preferred: number): Replica | undefined {
    const open = this.replicas.filter((replica) => replica.open);
    return open.find((replica) => replica === this.replicas[preferred]) ?? open[0];
  }

  async connect(name: string, signal: AbortSignal): Promise<AttachableLink> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.clock.setTimer(this.random() * 30, resolve);
    await promise;
    signal.throwIfAborted();
    const replica = this.anyReplica(Math.floor(this.random() * this.replicas.length));
    if (replica === undefined) throw new TunnelError('link_lost', 'no broker answers');
    const [near, far] = this.link([replica], 'dialer');
    replica.relay!.admit(far, { kind: 'dialer', cluster, dialer: name });
    return near;
  }

  /** All peers end in order. */
  async close(): Promise<void> {
    for (const dialer of this.dialers) dialer.close();
    await this.clock.advance(1_000);
    for (const agent of this.agents) agent.close();
    await this.clock.advance(1_000);
    for (const { relay } of this.replicas) relay?.close();
    await this.clock.advance(1_000);
  }

  #dialer(name: string): PooledDialer {
    return new PooledDialer({
      connect: (_, signal) => this.connect(name, signal),
      clock: this.clock,
      log: silentLogger,
      software: 'simulated',
      zone: this.#dialerZone,
      limits: fleetLimits,
    });
  }
}
