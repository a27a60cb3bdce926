import type {
  AcceptCall,
  Front,
  FrontHandler,
  FrontStream,
  GrpcStatus,
  StartFront,
} from '../../src/konnectivity/front.ts';
import type { CertificateSubject } from '../../src/konnectivity/certificate-subject.ts';
import type { OwnerOfBytes } from '../../src/base/net/send-queue.ts';
import { decodePacket } from '../../src/konnectivity/decode-packet.ts';
import type { Packet } from '../../src/konnectivity/packet.ts';
import { bytesField, grpcMessage, varintField } from '../konnectivity-bridge/wire.ts';

/** Turns that a message needs through broker, tunnel and sessions. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves as soon as the condition is true. @throws Error it never becomes true */
export async function until(isTrue: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(20_000);
  while (!isTrue()) {
    limit.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A listener without a network, at which the test's agents call. */
export class ScriptedFront implements Front {
  readonly address = '127.0.0.1:8091';
  isAccepting = true;
  readonly calls: ScriptedAgent[] = [];
  #accept: AcceptCall | undefined;

  readonly start: StartFront = async ({ methods }) => {
    this.#accept = methods.get('/AgentService/Connect');
    return this;
  };

  /** Dials that all agents have got. */
  get dialCount(): number {
    return this.calls.reduce((count, agent) => count + agent.of('dial_request').length, 0);
  }

  setTls(): void {}

  stopAccepting(): void {
    this.isAccepting = false;
  }

  async close(): Promise<void> {
    this.isAccepting = false;
  }

  /** An agent calls `AgentService/Connect`. */
  connect(options: AgentOptions = {}): ScriptedAgent {
    const agent = new ScriptedAgent(this.#accept!, options);
    this.calls.push(agent);
    return agent;
  }
}

export interface AgentOptions {
  readonly metadata?: Readonly<Record<string, readonly string[]>>;
  readonly subject?: Pick<CertificateSubject, 'commonNames' | 'organizations'>;
}

/** An agent whose every packet is the test's. What the server sent is decoded. */
export class ScriptedAgent implements FrontStream {
  readonly peer = 'agent (192.0.2.1:4711)';
  readonly subject: CertificateSubject | undefined;
  readonly #metadata: Readonly<Record<string, readonly string[]>>;
  readonly #handler: FrontHandler;
  readonly packets: Packet[] = [];
  /** Metadata of the head; undefined: it was not sent. */
  head: Readonly<Record<string, string>> | undefined;
  status: readonly [GrpcStatus, string] | undefined;
  isPaused = false;
  queuedBytes = 0;
  queuedPackets = 0;
  /** While true, sent bytes stay in the queue. */
  isStalled = false;

  constructor(accept: AcceptCall, { metadata = { agentid: ['a'] }, subject }: AgentOptions) {
    this.#metadata = metadata;
    this.subject = {
      ...(subject ?? { commonNames: ['agent'], organizations: [] }),
      ...{ serial: '1', issuer: 'CN=test', expiresAtMs: Infinity },
    };
    this.#handler = accept(this);
  }

  metadata(name: string): readonly string[] {
    return this.#metadata[name] ?? [];
  }

  roundTrip(onAnswered: () => void): void {
    queueMicrotask(onAnswered);
  }

  respond(metadata: Readonly<Record<string, string>> = {}): void {
    this.head ??= metadata;
  }

  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    if (this.status !== undefined) return owner?.onReleased();
    this.respond();
    this.packets.push(copied(decodePacket(bytes.subarray(5))));
    if (this.isStalled) this.queuedBytes += bytes.length;
    owner?.onReleased();
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(status: GrpcStatus, message = ''): void {
    this.respond();
    this.status ??= [status, message];
  }

  abort(): void {}

  /** Sends what was queued while the agent was stalled. */
  release(): void {
    this.isStalled = false;
    this.queuedBytes = 0;
    this.#handler.onSent();
  }

  sendBytes(bytes: Uint8Array): void {
    this.#handler.onData(bytes);
  }

  dialResponse(random: bigint, connectId: number, error = ''): void {
    const fields = [
      ...(error === '' ? [] : [bytesField(1, error)]),
      varintField(2, connectId),
      varintField(3, random),
    ];
    this.#send(1, bytesField(3, Buffer.concat(fields)));
  }

  data(connectId: number, payload: Uint8Array | string): void {
    this.#send(
      4,
      bytesField(4, Buffer.concat([varintField(1, connectId), bytesField(3, payload)])),
    );
  }

  closeResponse(connectId: number, error = ''): void {
    const text = error === '' ? [] : [bytesField(1, error)];
    this.#send(3, bytesField(6, Buffer.concat([...text, varintField(2, connectId)])));
  }

  drain(): void {
    this.#send(6, bytesField(8, ''));
  }

  /** The agent's process is gone. */
  vanish(): void {
    this.#handler.onClose();
  }

  /** The packets of a kind. */
  of<K extends Packet['kind']>(kind: K): Extract<Packet, { kind: K }>[] {
    return this.packets.filter((packet) => packet.kind === kind) as Extract<Packet, { kind: K }>[];
  }

  /** The payload of all DATA for a connection, as text. */
  received(connectId: number): string {
    const own = this.of('data').filter((packet) => packet.connectId === connectId);
    return Buffer.concat(own.map(({ payload }) => payload)).toString();
  }

  #send(type: number, member: Buffer): void {
    this.sendBytes(grpcMessage(Buffer.concat([varintField(1, type), member])));
  }
}

function copied(packet: Packet): Packet {
  return packet.kind === 'data' ? { ...packet, payload: Uint8Array.from(packet.payload) } : packet;
}
