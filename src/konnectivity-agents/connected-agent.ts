import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { type FrontStream, GrpcStatus } from '../konnectivity/front.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import {
  dataHeaderMaxBytes,
  encodeCloseRequest,
  encodeDialClose,
  encodeDialRequest,
  type Packet,
  PacketType,
  writeDataHeader,
} from '../konnectivity/packet.ts';
import type { PacketBuffer, PacketBufferPool } from '../konnectivity/packet-buffer.ts';
import type { PacketCounts, PacketTypeNumber } from '../konnectivity/packet-counts.ts';
import { type PacketHandler, PacketParser } from '../konnectivity/packet-parser.ts';
import type { AgentIdentifiers } from './agent-identifiers.ts';
import type { AgentStream, StreamAgent } from './agent-stream.ts';
import { BacklogLimit } from './backlog-limit.ts';
import type { KonnectivityAgentsLimits } from './options.ts';
import type { Candidate } from './proxy-strategy.ts';
import { StandardAgentError } from './standard-agent-error.ts';

type ControlPacket = Exclude<Packet, { kind: 'data' }>;
type DialResponse = Extract<Packet, { kind: 'dial_response' }>;

/** An honest agent causes at most so many packets without a connection, per dial. */
const strayPacketsPerDial = 4;

export interface ConnectedAgentOptions {
  readonly front: FrontStream;
  readonly agentId: string;
  readonly identifiers: AgentIdentifiers;
  readonly clock: Clock;
  readonly limits: KonnectivityAgentsLimits;
  readonly pool: PacketBufferPool;
  readonly packets: PacketCounts;
  readonly log: Logger;
  /** The agent takes no more dials. Its streams have not been told yet. */
  readonly onRemoved: (agent: ConnectedAgent) => void;
  /** The streams of the agent have been told. */
  readonly onEnded: () => void;
}

interface PendingDial {
  /** Undefined: the dial was cancelled, but the agent still answers it. */
  readonly stream: AgentStream | undefined;
  readonly startedAtMs: number;
}

/**
 * One call of `AgentService/Connect` whose agent has been accepted. Ids of dials and connections are
 * valid within their call only, so two calls of one agent id cannot mix them up.
 */
export class ConnectedAgent implements PacketHandler, StreamAgent, Candidate {
  readonly agentId: string;
  readonly hosts: ReadonlySet<string>;
  readonly isDefaultRoute: boolean;
  isDuplicate = false;
  isDraining = false;
  readonly #options: ConnectedAgentOptions;
  readonly #front: FrontStream;
  readonly #parser: PacketParser;
  readonly #backlog: BacklogLimit;
  #dialCount = 0;
  /** By random, in the order of the dials. */
  readonly #pending = new Map<bigint, PendingDial>();
  /**
   * By connect id: connections that the agent has not closed. Undefined: the client left before the
   * agent answered its dial, and what the agent sends until it has closed the connection is dropped.
   */
  readonly #streams = new Map<number, AgentStream | undefined>();
  /** Streams whose window is given back when the agent's connection has room. */
  readonly #owed = new Set<AgentStream>();
  #strayPackets = 0;
  #strayConnectId = 0;
  #hasEnded = false;

  constructor(options: ConnectedAgentOptions) {
    const { agentId, identifiers, front, clock, limits } = options;
    this.agentId = agentId;
    this.hosts = identifiers.hosts;
    this.isDefaultRoute = identifiers.isDefaultRoute;
    this.#options = options;
    this.#front = front;
    this.#parser = new PacketParser(this, options.packets.fromAgent);
    this.#backlog = new BacklogLimit({
      clock,
      limits,
      setPaused: (isPaused) => (isPaused ? front.pause() : front.resume()),
      hasOthers: (stalled) => this.load > stalled,
    });
  }

  get load(): number {
    return this.#streams.size + this.#pending.size;
  }

  get pendingDials(): number {
    return this.#pending.size;
  }

  get connections(): number {
    return this.#streams.size;
  }

  get backlogBytes(): number {
    return this.#backlog.bytes;
  }

  get isFull(): boolean {
    const { maxPendingDials, maxConnections } = this.#limits;
    return this.#pending.size >= maxPendingDials || this.load >= maxConnections;
  }

  get isSuspect(): boolean {
    const [oldest] = this.#pending.values();
    if (oldest === undefined) return false;
    const { clock, limits } = this.#options;
    return clock.now() - oldest.startedAtMs > limits.suspectAfterMs;
  }

  get #limits(): KonnectivityAgentsLimits {
    return this.#options.limits;
  }

  dial(stream: AgentStream): void {
    stream.random = BigInt(++this.#dialCount);
    const startedAtMs = this.#options.clock.now();
    this.#pending.set(stream.random, { stream, startedAtMs });
    this.#send(PacketType.dialRequest, encodeDialRequest(stream.address, stream.random));
  }

  /** Upstream's agents ignore DIAL_CLS and answer the dial, so the dial stays known. */
  cancelDial({ random }: AgentStream): void {
    const dial = this.#pending.get(random);
    if (dial === undefined) return;
    this.#pending.set(random, { ...dial, stream: undefined });
    this.#send(PacketType.dialClose, encodeDialClose(random));
  }

  sendData(stream: AgentStream, bytes: Uint8Array): boolean {
    const { pool } = this.#options;
    for (let at = 0; at < bytes.length;) {
      const buffer = pool.take(bytes.length - at);
      at += buffer.append(bytes, at);
      const start = writeDataHeader(buffer.bytes, dataHeaderMaxBytes, buffer.end, stream.connectId);
      this.#send(PacketType.data, buffer.bytes.subarray(start, buffer.end), buffer);
    }
    if (this.#front.queuedBytes <= this.#limits.maxQueuedBytes) return true;
    this.#owed.add(stream);
    return false;
  }

  close({ connectId }: AgentStream): void {
    this.#send(PacketType.closeRequest, encodeCloseRequest(connectId));
  }

  onBacklog(stream: AgentStream, bytes: number): void {
    this.#backlog.add(stream, bytes);
  }

  onBacklogTaken(stream: AgentStream, bytes: number): void {
    this.#backlog.take(stream, bytes);
  }

  /** Bytes of the agent, borrowed. */
  onBytes(bytes: Uint8Array): void {
    if (this.#hasEnded) return;
    try {
      this.#parser.push(bytes);
    } catch (thrown) {
      if (thrown instanceof StandardAgentError) return this.end(thrown);
      if (!(thrown instanceof KonnectivityError)) throw thrown;
      const options = { cause: thrown };
      this.end(new StandardAgentError('malformed_packet', thrown.message, options));
    }
  }

  /** Some bytes have left the process. */
  onSent(): void {
    if (this.#owed.size === 0 || this.#front.queuedBytes > this.#limits.maxQueuedBytes) return;
    const owed = [...this.#owed];
    this.#owed.clear();
    for (const stream of owed) stream.payBack();
  }

  /** Ends the call. Its connections are reset, and its dials go to other agents. Idempotent. */
  end(error: StandardAgentError | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#parser.stop();
    this.#backlog.close();
    const { log, onRemoved, onEnded } = this.#options;
    const counts = { streams: this.#streams.size };
    if (error === undefined) {
      log.info('konnectivity agent disconnected', counts);
      this.#front.end(GrpcStatus.ok);
    } else {
      const { code, message } = error;
      const isLeaving = code === 'draining';
      log[isLeaving ? 'info' : 'warn']('konnectivity agent was disconnected', {
        ...counts,
        code,
        error: message,
      });
      this.#front.end(isLeaving ? GrpcStatus.unavailable : GrpcStatus.internal, message);
    }
    onRemoved(this);
    const streams = [...this.#streams.values()];
    const dials = [...this.#pending.values()];
    this.#streams.clear();
    this.#pending.clear();
    for (const stream of streams) stream?.onAgentLost();
    for (const { stream } of dials) stream?.onAgentLost();
    onEnded();
  }

  onPayload(connectId: number, bytes: Uint8Array): void {
    const stream = this.#streams.get(connectId);
    if (stream !== undefined) return stream.onTargetData(bytes);
    if (this.#streams.has(connectId)) return;
    if (connectId !== 0) this.#closeStray(connectId);
    this.#onStray();
  }

  onPacket(packet: ControlPacket): void {
    switch (packet.kind) {
      case 'dial_response':
        return this.#onDialResponse(packet);
      case 'close_response': {
        const { connectId, error } = packet;
        const stream = this.#streams.get(connectId);
        if (!this.#streams.delete(connectId)) return this.#onStray();
        stream?.onTargetClosed(error);
        return this.#backlog.changed();
      }
      case 'drain':
        if (this.isDraining) return this.#onStray();
        this.isDraining = true;
        this.#options.log.info('konnectivity agent drains');
        return;
      // Agents send none of these.
      case 'dial_request':
      case 'close_request':
      case 'dial_close':
      case 'other':
        this.#onStray();
    }
  }

  #onDialResponse({ random, connectId, error }: DialResponse): void {
    const dial = this.#pending.get(random);
    if (dial === undefined) {
      if (connectId !== 0) this.#closeStray(connectId);
      return this.#onStray();
    }
    this.#pending.delete(random);
    const { stream } = dial;
    if (error !== '') return stream?.onDialFailed(error);
    if (connectId === 0 || this.#streams.has(connectId)) {
      stream?.onDialFailed(`the agent answered with connect id ${connectId}`);
      const problem =
        connectId === 0 ? 'no connect id' : `connect id ${connectId}, which is in use`;
      throw new StandardAgentError('protocol_error', `DIAL_RSP has ${problem}`);
    }
    this.#streams.set(connectId, stream);
    if (stream !== undefined) return stream.onDialed(connectId);
    this.#send(PacketType.closeRequest, encodeCloseRequest(connectId));
  }

  /** Answers the first packet for an unknown connection, as upstream's server does. */
  #closeStray(connectId: number): void {
    if (connectId === this.#strayConnectId) return;
    this.#strayConnectId = connectId;
    this.#send(PacketType.closeRequest, encodeCloseRequest(connectId));
  }

  #onStray(): void {
    this.#strayPackets++;
    const limit = this.#limits.maxStrayPackets + strayPacketsPerDial * this.#dialCount;
    if (this.#strayPackets <= limit) return;
    const sentence = `more than ${limit} packets for no connection and no dial`;
    throw new StandardAgentError('flood', sentence);
  }

  #send(type: PacketTypeNumber, packet: Buffer, buffer?: PacketBuffer): void {
    this.#options.packets.toAgent.add(type);
    this.#front.send(packet, buffer);
  }
}
