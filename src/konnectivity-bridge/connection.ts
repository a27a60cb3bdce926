import type { Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { BridgeContext } from './bridge-context.ts';
import { type Destination, noAgentText } from './destination.ts';
import { type FrontStream, GrpcStatus } from './front.ts';
import type { DialFailureReason } from './metrics.ts';
import { encodeCloseResponse, encodeDialError, encodeDialResponse } from './packet.ts';
import { PacketWriter } from './packet-writer.ts';
import { TargetWriter } from './target-writer.ts';

/**
 * dialing -> open -> flushing -> over. While `flushing` the client has had its CLOSE_RSP and its call is over, and what it wrote
 * before still goes to the target.
 */
type State = 'dialing' | 'open' | 'flushing' | 'over';

/** Unique in the process, so that logs are; never 0, which the client takes for "no connection". */
let lastConnectId = 0;

/** One proxied connection: a client's call on one side, a stream of the tunnel on the other. */
export class Connection implements StreamHandler {
  readonly #context: BridgeContext;
  readonly #front: FrontStream;
  readonly #random: bigint;
  readonly #destination: Destination;
  readonly #tunnel: TunnelStream;
  readonly #target: TargetWriter;
  #state: State = 'dialing';
  #connectId = 0;
  #writer: PacketWriter | undefined;
  /** For what the state waits: an answer to the dial, the end of the hold, the end of the flush. */
  #timer: Timer;
  /** The target has closed while its bytes are held; the text goes into CLOSE_RSP. */
  #heldClose: string | undefined;
  #tunnelClosed = false;

  /** @param readOn called when `write` returned false before and would take bytes again */
  constructor(
    context: BridgeContext,
    front: FrontStream,
    random: bigint,
    destination: Destination,
    readOn: () => void,
  ) {
    this.#context = context;
    this.#front = front;
    this.#random = random;
    this.#destination = destination;
    const { dialTimeoutMs, dialGraceMs } = context.limits;
    context.pendingDials.add(this);
    this.#timer = context.clock.setTimer(dialTimeoutMs + dialGraceMs, () => this.#onDialTimeout());
    this.#tunnel = this.#dial();
    this.#target = new TargetWriter(this.#tunnel, context.clock, readOn);
  }

  /** The id that client and bridge call it by; 0 until it is open. */
  get connectId(): number {
    return this.#connectId;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Whether the client has had its last packet. */
  get isOverForClient(): boolean {
    return this.#state === 'flushing' || this.#state === 'over';
  }

  isDialOf(random: bigint): boolean {
    return this.#random === random;
  }

  /** Bytes from the client, while open. False: stop until `readOn`. */
  write(bytes: Uint8Array): boolean {
    const mayGoOn = this.#tunnelClosed || this.#target.write(bytes);
    // The client has shown that it knows the connection.
    if (this.#writer!.isHolding) this.#endHold();
    return mayGoOn || this.isOverForClient;
  }

  /** CLOSE_REQ: the client waits in Close for the answer, the target may take its time with what was written. */
  closeByClient(): void {
    this.#tunnel.stopReceiving();
    this.#writer!.discard();
    this.#closeForClient('');
  }

  /** DIAL_CLS, or the call is gone: nobody is left to answer. */
  abandon(): void {
    if (this.#state === 'dialing') {
      this.#context.dialFailed('frontend_close');
      this.#tunnel.reset(new TunnelError('cancelled', 'the konnectivity client gave up its dial'));
    } else if (this.#state === 'open') {
      this.#writer!.discard();
      this.#tunnel.reset(
        new TunnelError('reset', 'the konnectivity client left without closing its connection'),
      );
    } else {
      return;
    }
    this.#leave();
  }

  /** Ends a flush that has not come to its end by itself. */
  endFlush(error: TunnelError): void {
    if (this.#state !== 'flushing') return;
    this.#tunnel.reset(error);
    this.#leave();
  }

  /** Some of what was sent to the client has left the process. */
  onSent(): void {
    this.#writer?.onSent();
  }

  onOpened(): void {
    if (this.#state !== 'dialing') return;
    const context = this.#context;
    this.#timer.cancel();
    this.#state = 'open';
    this.#connectId = ++lastConnectId;
    context.pendingDials.delete(this);
    context.established.add(this);
    this.#writer = new PacketWriter({
      front: this.#front,
      tunnel: this.#tunnel,
      pool: context.pool,
      turn: context.turn,
      connectId: this.#connectId,
      maxQueuedBytes: context.limits.maxQueuedBytes,
    });
    this.#front.send(encodeDialResponse(this.#random, this.#connectId));
    this.#timer = context.clock.setTimer(context.limits.holdMs, () => this.#endHold());
  }

  onData(bytes: Uint8Array): void {
    if (this.#state === 'open') this.#writer!.write(bytes);
  }

  /** konnectivity has no half-close: a target that sends no more ends the connection. */
  onFin(): void {
    if (this.#state === 'open') this.#closeByTarget('');
  }

  onWritable(): void {
    this.#target.onWritable();
  }

  onStop(): void {
    this.#target.onWritable();
  }

  onClose(error: TunnelError | undefined): void {
    this.#tunnelClosed = true;
    this.#writer?.detachTunnel();
    this.#target.discard();
    switch (this.#state) {
      case 'dialing':
        this.#failDial(error);
        break;
      case 'open':
        this.#closeByTarget(error?.message ?? '');
        break;
      case 'flushing':
        this.#leave();
        break;
      case 'over':
        break;
    }
  }

  #dial(): TunnelStream {
    const { dialer, limits } = this.#context;
    const { cluster, target } = this.#destination;
    return dialer.open({ cluster, target, timeoutMs: limits.dialTimeoutMs }, this);
  }

  #failDial(error: TunnelError | undefined): void {
    const text = error?.code === 'no_agent' ? noAgentText : (error?.message ?? 'tunnel closed');
    this.#context.dialFailed(dialFailureReason(error));
    this.#refuse(text);
  }

  #onDialTimeout(): void {
    this.#context.dialFailed('backend_dial_timeout');
    this.#tunnel.reset(new TunnelError('timeout', 'the dial was not answered in time'));
    this.#refuse('timed out waiting for backend dial');
  }

  #refuse(text: string): void {
    this.#front.send(encodeDialError(this.#random, text));
    this.#front.end(GrpcStatus.ok);
    this.#leave();
  }

  /** A client that has not registered the connection yet would miss CLOSE_RSP as well, so that is held with the rest. */
  #closeByTarget(text: string): void {
    if (this.#writer!.isHolding) {
      this.#heldClose ??= text;
      return;
    }
    this.#writer!.flush();
    this.#closeForClient(text);
  }

  #endHold(): void {
    this.#timer.cancel();
    this.#writer!.release();
    if (this.#heldClose !== undefined) this.#closeByTarget(this.#heldClose);
  }

  #closeForClient(text: string): void {
    this.#front.send(encodeCloseResponse(this.#connectId, text));
    this.#front.end(GrpcStatus.ok);
    this.#timer.cancel();
    if (this.#tunnelClosed) {
      this.#leave();
      return;
    }
    const { established, flushing, clock, limits } = this.#context;
    this.#state = 'flushing';
    established.delete(this);
    flushing.add(this);
    this.#timer = clock.setTimer(limits.flushTimeoutMs, () => this.#onFlushTimeout());
    this.#target.fin();
  }

  #onFlushTimeout(): void {
    const { log, limits } = this.#context;
    const text = `the target did not close within ${limits.flushTimeoutMs} ms of its client`;
    log.debug('flush timed out', { connectId: this.#connectId, error: text });
    this.endFlush(new TunnelError('timeout', text));
  }

  #leave(): void {
    this.#timer.cancel();
    this.#target.discard();
    this.#state = 'over';
    this.#context.pendingDials.delete(this);
    this.#context.established.delete(this);
    this.#context.flushing.delete(this);
    this.#context.onLeft();
  }
}

function dialFailureReason(error: TunnelError | undefined): DialFailureReason {
  switch (error?.code) {
    case 'no_agent':
      return 'no_agent';
    case 'agent_lost':
    case 'link_lost':
    case 'peer_unresponsive':
    case undefined:
      return 'backend_close';
    default:
      return 'error_response';
  }
}
