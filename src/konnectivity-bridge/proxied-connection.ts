import type { Timer } from '../base/clock.ts';
import { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { ConnectionContext } from './bridge-context.ts';
import { type Destination, noAgentText } from './destination.ts';
import type { DialFailureReason } from './metrics.ts';
import { TargetWriter } from './target-writer.ts';

/** The client's side of a proxied connection: translates its events into the client's protocol. */
export interface ConnectionHandler {
  /** The agent has connected to the target. Bytes that were passed on are reported to `tunnel`. */
  onOpened(tunnel: TunnelStream): void;

  /** The dial has failed. The connection has ended, and the error's message is for the client. */
  onRefused(error: TunnelError): void;

  /** Bytes from the target, while the connection is open. Borrowed: valid until this returns. */
  onData(bytes: Uint8Array): void;

  /**
   * The target sends no more, and may still read (half-close). A client whose protocol has no
   * half-close is closed, as in `onTargetClosed`.
   */
  onTargetFin(): void;

  /**
   * The connection to the target is over: both directions have ended in order, or the error cut it.
   * Can come after `onTargetFin`. The handler passes on what came before, closes its client and
   * calls `closeClient`.
   */
  onTargetClosed(error: TunnelError | undefined): void;

  /** The tunnel's stream is gone: there is no window left to give back. */
  onTunnelClosed(): void;

  /** `write` returned false before and would take bytes again. */
  onWritable(): void;
}

/**
 * dialing -> open -> flushing -> over. In `flushing` the client is closed, and what it wrote before
 * still goes to the target.
 */
type State = 'dialing' | 'open' | 'flushing' | 'over';

/**
 * A connection of a client to a target, from the dial to the last byte. Knows no client protocol.
 */
export class ProxiedConnection implements StreamHandler {
  readonly #context: ConnectionContext;
  readonly #destination: Destination;
  readonly #handler: ConnectionHandler;
  readonly #tunnel: TunnelStream;
  readonly #target: TargetWriter;
  /** When the dial began, or when the connection was open. */
  #sinceMs: number;
  #state: State = 'dialing';
  /** Limits the states `dialing` and `flushing`. */
  #timer: Timer;
  #isTunnelClosed = false;

  /** @param dialer makes the dial */
  constructor(
    context: ConnectionContext,
    destination: Destination,
    handler: ConnectionHandler,
    dialer: Pick<Dialer, 'open'>,
  ) {
    this.#context = context;
    this.#destination = destination;
    this.#handler = handler;
    const { dialTimeoutMs, dialGraceMs } = context.limits;
    this.#sinceMs = context.clock.now();
    context.pendingDials.add(this);
    this.#timer = context.clock.setTimer(dialTimeoutMs + dialGraceMs, () => this.#onDialTimeout());
    this.#tunnel = this.#dial(dialer);
    this.#target = new TargetWriter(this.#tunnel, {
      clock: context.clock,
      budget: context.backlogBudget,
      resumeClient: this.#onWritable,
    });
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Whether the client is closed, so that nothing it still sends counts. */
  get isClientClosed(): boolean {
    return this.#state === 'flushing' || this.#state === 'over';
  }

  /** Bytes from the client, while open. False: stop reading from the client until `onWritable`. */
  write(bytes: Uint8Array): boolean {
    return this.#isTunnelClosed || this.#target.write(bytes);
  }

  /**
   * The client writes no more and still reads (half-close). The target gets a FIN after everything
   * that was written.
   */
  finishWriting(): void {
    if (!this.#isTunnelClosed) this.#target.fin();
  }

  /** The client wants no more bytes from the target. */
  stopReceiving(): void {
    this.#tunnel.stopReceiving();
  }

  /**
   * The client is closed in good order. The target still gets what the client wrote, within
   * `flushTimeoutMs`.
   */
  closeClient(): void {
    if (this.#isTunnelClosed) {
      this.#end();
      return;
    }
    const { established, flushing, clock, limits } = this.#context;
    this.#state = 'flushing';
    established.delete(this);
    flushing.add(this);
    this.#timer = clock.setTimer(limits.flushTimeoutMs, () => this.#onFlushTimeout());
    this.#target.fin();
  }

  /** The client left without closing: the dial is cancelled, or the target is reset. */
  abandon(): void {
    if (this.isClientClosed) return;
    if (this.#state === 'dialing') {
      this.#context.dialFailed('frontend_close');
      this.#tunnel.reset(new TunnelError('cancelled', 'the client gave up its dial'));
    } else {
      this.#tunnel.reset(
        new TunnelError('reset', 'the client left without closing its connection'),
      );
    }
    this.#end();
  }

  /** Ends a flush early. */
  endFlush(error: TunnelError): void {
    if (this.#state !== 'flushing') return;
    this.#tunnel.reset(error);
    this.#end();
  }

  onOpened(): void {
    if (this.#state !== 'dialing') return;
    this.#timer.cancel();
    const nowMs = this.#context.clock.now();
    this.#context.dialed((nowMs - this.#sinceMs) / 1_000);
    this.#sinceMs = nowMs;
    this.#state = 'open';
    this.#context.pendingDials.delete(this);
    this.#context.established.add(this);
    this.#handler.onOpened(this.#tunnel);
  }

  onData(bytes: Uint8Array): void {
    if (this.#state === 'open') this.#handler.onData(bytes);
  }

  onFin(): void {
    if (this.#state === 'open') this.#handler.onTargetFin();
  }

  onWritable(): void {
    this.#target.onWritable();
  }

  onStop(): void {
    this.#target.onWritable();
  }

  onClose(error: TunnelError | undefined): void {
    this.#isTunnelClosed = true;
    this.#handler.onTunnelClosed();
    this.#target.discard();
    switch (this.#state) {
      case 'dialing':
        this.#context.dialFailed(dialFailureReason(error));
        this.#refuse(refusalOf(error));
        break;
      case 'open':
        this.#handler.onTargetClosed(error);
        break;
      case 'flushing':
        this.#end();
        break;
      case 'over':
        break;
    }
  }

  #dial(dialer: Pick<Dialer, 'open'>): TunnelStream {
    const { limits } = this.#context;
    const { cluster, target } = this.#destination;
    return dialer.open({ cluster, target, timeoutMs: limits.dialTimeoutMs }, this);
  }

  #onDialTimeout(): void {
    this.#context.dialFailed('backend_dial_timeout');
    this.#tunnel.reset(new TunnelError('timeout', 'the dial was not answered in time'));
    this.#refuse(new TunnelError('timeout', 'timed out waiting for backend dial'));
  }

  #refuse(error: TunnelError): void {
    this.#handler.onRefused(error);
    this.#end();
  }

  #onFlushTimeout(): void {
    const { log, limits } = this.#context;
    const text = `the target did not close within ${limits.flushTimeoutMs} ms of its client`;
    log.debug('flush timed out', { ...this.#destination.target, error: text });
    this.endFlush(new TunnelError('timeout', text));
  }

  #end(): void {
    this.#timer.cancel();
    this.#target.discard();
    if (this.#state === 'open' || this.#state === 'flushing') {
      this.#context.connectionEnded((this.#context.clock.now() - this.#sinceMs) / 1_000);
    }
    this.#state = 'over';
    this.#context.pendingDials.delete(this);
    this.#context.established.delete(this);
    this.#context.flushing.delete(this);
    this.#context.onEnded();
  }

  readonly #onWritable = (): void => this.#handler.onWritable();
}

/** The error that the client gets. Clients compare the text of `no_agent`. */
function refusalOf(error: TunnelError | undefined): TunnelError {
  if (error === undefined) return new TunnelError('agent_lost', 'tunnel closed');
  return error.code === 'no_agent' ? new TunnelError('no_agent', noAgentText) : error;
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
