import type { Timer } from '../base/clock.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';
import type { BridgeContext } from './bridge-context.ts';
import type { Destination } from './destination.ts';
import { type FrontStream, GrpcStatus } from '../konnectivity/front.ts';
import {
  encodeCloseResponse,
  encodeDialError,
  encodeDialResponse,
  PacketType,
} from '../konnectivity/packet.ts';
import type { PacketTypeNumber } from '../konnectivity/packet-counts.ts';
import { ClientWriter, PacketSink } from './client-writer.ts';
import { type ConnectionHandler, ProxiedConnection } from './proxied-connection.ts';

/**
 * Unique in the process, so that log lines are unambiguous. Never 0, which clients take for "no
 * connection".
 */
let lastConnectId = 0;

/**
 * A proxied connection in konnectivity's packets: one DIAL_REQ of a call and everything that
 * follows from it.
 */
export class PacketConnection implements ConnectionHandler {
  readonly #context: BridgeContext;
  readonly #front: FrontStream;
  readonly #random: bigint;
  readonly #connection: ProxiedConnection;
  #connectId = 0;
  #writer: ClientWriter | undefined;
  /**
   * The state of the hold of `ClientWriter`. The client is asked only after the target's first bytes,
   * because most clients send first.
   */
  #hold: 'waits for bytes' | 'waits for the answer to leave' | 'asks the client' | undefined;
  #holdTimer: Timer | undefined;
  /** The target closed while its bytes are held. The text goes into CLOSE_RSP. */
  #heldCloseText: string | undefined;

  /** Dials `destination` at once. @param random the number by which the client knows its dial */
  constructor(
    context: BridgeContext,
    front: FrontStream,
    random: bigint,
    destination: Destination,
  ) {
    this.#context = context;
    this.#front = front;
    this.#random = random;
    const dialer = context.shares.dialerOf(front.subject, context.dialerFor(front.subject));
    this.#connection = new ProxiedConnection(context, destination, this, dialer);
  }

  /** Whether the connection is open under this id. */
  isOpenAs(connectId: number): boolean {
    return this.#connection.isOpen && this.#connectId === connectId;
  }

  /** Whether the client has got its last packet. */
  get isClientClosed(): boolean {
    return this.#connection.isClientClosed;
  }

  isDialOf(random: bigint): boolean {
    return this.#random === random;
  }

  /** DATA from the client, while open. */
  write(bytes: Uint8Array): void {
    const mayContinue = this.#connection.write(bytes);
    // The client has shown that it knows the connection.
    if (this.#writer!.isHolding) this.#endHold();
    if (!mayContinue && !this.isClientClosed) this.#front.pause();
  }

  /**
   * CLOSE_REQ. The client waits in Close for the answer, so the answer does not wait for the
   * target.
   */
  closeByClient(): void {
    this.#hold = undefined;
    this.#connection.stopReceiving();
    this.#writer!.discard();
    this.#closeClient('');
  }

  /** DIAL_CLS, or the call has ended: there is no client left to answer. */
  abandon(): void {
    this.#hold = undefined;
    this.#holdTimer?.cancel();
    if (this.#connection.isOpen) this.#writer!.discard();
    this.#connection.abandon();
  }

  /** Some of what was sent to the client has left the process. */
  onSent(): void {
    if (this.#hold === 'waits for the answer to leave') this.#askClient();
    this.#writer?.onSent();
  }

  onOpened(tunnel: TunnelStream): void {
    const { pool, limits, writeTimes } = this.#context;
    this.#connectId = ++lastConnectId;
    this.#writer = new ClientWriter({
      sink: new PacketSink(this.#front, this.#context.packets.toClient, this.#connectId),
      tunnel,
      pool,
      maxQueuedBytes: limits.maxQueuedBytes,
      writeTimes,
      // The Go client drops DATA that comes too close behind DIAL_RSP.
      isHolding: true,
    });
    this.#hold = 'waits for bytes';
    this.#send(PacketType.dialResponse, encodeDialResponse(this.#random, this.#connectId));
  }

  onRefused({ message }: TunnelError): void {
    this.#send(PacketType.dialResponse, encodeDialError(this.#random, message));
    this.#front.end(GrpcStatus.ok);
  }

  onData(bytes: Uint8Array): void {
    this.#writer!.write(bytes);
    if (this.#hold === 'waits for bytes') this.#askClient();
  }

  /** Packets have no half-close: a target that sends no more ends the connection. */
  onTargetFin(): void {
    this.onTargetClosed(undefined);
  }

  onTargetClosed(error: TunnelError | undefined): void {
    this.#closeAfterHold(error?.message ?? '');
  }

  onTunnelClosed(): void {
    this.#writer?.detachTunnel();
  }

  onWritable(): void {
    this.#front.resume();
  }

  /**
   * A client that has not registered the connection yet would miss CLOSE_RSP too, so CLOSE_RSP is
   * held behind the bytes.
   */
  #closeAfterHold(text: string): void {
    if (this.#writer!.isHolding) {
      this.#heldCloseText ??= text;
      if (this.#hold === 'waits for bytes') this.#askClient();
      return;
    }
    this.#writer!.flush();
    this.#closeClient(text);
  }

  /**
   * Starts the timer of the hold once the client has read DIAL_RSP. A client that has no CPU reads
   * late, and would drop what it reads together with DIAL_RSP.
   */
  #askClient(): void {
    const { clock, limits } = this.#context;
    if (this.#front.queuedBytes > 0) {
      this.#hold = 'waits for the answer to leave';
      return;
    }
    this.#hold = 'asks the client';
    this.#front.roundTrip(() => {
      if (this.#hold !== 'asks the client' || this.isClientClosed) return;
      this.#holdTimer = clock.setTimer(limits.holdMs, () => this.#endHold());
    });
  }

  #endHold(): void {
    this.#hold = undefined;
    this.#holdTimer?.cancel();
    this.#writer!.release();
    if (this.#heldCloseText !== undefined) this.#closeAfterHold(this.#heldCloseText);
  }

  #closeClient(text: string): void {
    this.#holdTimer?.cancel();
    this.#send(PacketType.closeResponse, encodeCloseResponse(this.#connectId, text));
    this.#front.end(GrpcStatus.ok);
    this.#connection.closeClient();
  }

  #send(type: PacketTypeNumber, packet: Buffer): void {
    this.#context.packets.toClient.add(type);
    this.#front.send(packet);
  }
}
