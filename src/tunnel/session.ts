import type { Timer } from '../base/clock.ts';
import { DelayedAcks } from './delayed-acks.ts';
import { TunnelError } from './errors.ts';
import { FrameType, frameName } from './frame.ts';
import type { Link } from './link.ts';
import { encodeFailure } from './message.ts';
import { PeerGrants } from './peer-grants.ts';
import { checkPing } from './ping.ts';
import { ReceiveWindow } from './receive-window.ts';
import { RoundTrip } from './round-trip.ts';
import { SendScheduler } from './send-scheduler.ts';
import type { SessionOptions } from './session-options.ts';
import { movedSync, SessionSync } from './session-sync.ts';
import { Stream, type StreamOwner } from './stream.ts';
import { StreamAcceptor, type MakeStream } from './stream-acceptor.ts';
import { applyFrame, resetForBreach } from './stream-frame.ts';
import type { StreamHandler } from './stream-handler.ts';
import { requestProblem, sendableRequest, type StreamRequest } from './stream-request.ts';
import { StreamTable } from './stream-table.ts';
import { WindowBudget } from './window-budget.ts';

/** How much longer than the acceptor the opener waits for the answer to OPEN, in milliseconds. */
const answerGraceMs = 2_000;

/**
 * The relation between one dialer and one agent: its streams, their credit, and the order in which
 * frames are sent. It has no socket and no clock of its own; a link (or a demultiplexer in front of
 * one) brings frames in and pulls frames out.
 */
export class Session implements StreamOwner {
  readonly roundTrip = new RoundTrip();
  readonly budget: WindowBudget;
  /** Bytes that were sent again, over all links. */
  resentBytes = 0;
  readonly #options: SessionOptions;
  readonly #streams = new StreamTable();
  readonly #scheduler: SendScheduler;
  readonly #sync: SessionSync;
  readonly #acks: DelayedAcks;
  readonly #grants: PeerGrants;
  readonly #acceptor: StreamAcceptor | undefined;
  #maxWindowBytes: number;
  #nextStream = 1;
  #closed: TunnelError | undefined;

  constructor(options: SessionOptions) {
    const { accept, clock, limits, grantBudget, log } = options;
    this.#options = options;
    this.#scheduler = new SendScheduler(clock, (stream) => this.#controlSent(stream));
    this.#maxWindowBytes = limits.maxWindowBytes;
    this.budget = new WindowBudget(limits.sessionBudgetBytes, options.budget);
    this.#acks = new DelayedAcks(clock, limits.ackDelayMs);
    this.#grants = new PeerGrants(limits, grantBudget);
    const parts = {
      log,
      maxStreams: limits.maxStreams,
      streams: this.#streams,
      scheduler: this.#scheduler,
      grants: this.#grants,
    };
    this.#sync = new SessionSync(parts);
    if (accept === undefined) return;
    const make: MakeStream = (number, handler) => this.#add(number, 'acceptor', handler);
    this.#acceptor = new StreamAcceptor({ ...parts, accept, sync: this.#sync, make });
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Frames wait for the link. */
  get hasFrames(): boolean {
    return this.#scheduler.hasFrames;
  }

  /** No stream has been answered, so that another agent can be asked instead. */
  get unanswered(): boolean {
    return this.#streams.hasOnly(({ isAccepted }) => !isAccepted);
  }

  /** Ends the streams that have not been answered, so that another agent can be asked. */
  failUnanswered(error: TunnelError): void {
    for (const stream of this.#streams) if (!stream.isAccepted) stream.fail(error);
  }

  /**
   * Sends through `link` from now on, with `number` in the frames.
   *
   * @param wake asks for `pullFrame` calls; `now`: before this turn continues
   * @param resume the other end has the session already, so both first report what they have
   *   (docs/protocol.md, "Resume"); otherwise it knows no stream
   */
  attach(link: Link, number: number, wake: (now: boolean) => void, resume = false): void {
    this.detach();
    this.#scheduler.attach(link, number, wake);
    if (resume) this.#sync.begin();
    else this.#sync.startFresh();
  }

  /** Tells the other end that the session leaves this link; `attach` to another follows. */
  leave(): void {
    this.#scheduler.sendNow(FrameType.sync, movedSync);
  }

  /** A broker on the way cannot hold more than this of a stream: windows grow no further. */
  limitWindows(maxBytes: number): void {
    this.#maxWindowBytes = Math.min(this.#maxWindowBytes, maxBytes);
  }

  /** The link is gone. Streams stay open, and `attach` continues them. Idempotent. */
  detach(): void {
    this.#scheduler.detach();
    this.#sync.abandon();
    this.roundTrip.forget();
  }

  /**
   * Opens a stream and returns at once. A stream of a closed session ends with the error of the
   * session. A stream whose caller exceeds `callerLimits` ends with `dial_failed`. An invalid trace
   * is not sent.
   *
   * @param handler makes the handler of the new stream
   */
  open(request: StreamRequest, handler: (stream: Stream) => StreamHandler): Stream {
    const stream = this.#add(this.#nextStream++, 'opener', handler);
    const problem = this.#closed ?? requestProblem(request);
    if (problem !== undefined) stream.fail(problem);
    if (stream.isEnded) return stream;
    const { timeoutMs, share, isPatient = false } = request;
    stream.sending.share = share;
    stream.isPatient = isPatient;
    const timer = timeoutMs > 0 ? this.#limitAnswer(stream, timeoutMs + answerGraceMs) : undefined;
    stream.open(sendableRequest(request), timer);
    return stream;
  }

  /** A piece of DATA for this session; see `LinkOwner.onData`. */
  onData(number: number, bytes: Uint8Array): void {
    const stream = this.#streams.get(number);
    if (stream === undefined) return this.#unknown(number, FrameType.data);
    const { receiving } = stream;
    const { log } = this.#options;
    if (!stream.isAccepted || receiving.hasFin) {
      const when = stream.isAccepted ? 'after its FIN' : 'before OPENED';
      return resetForBreach(stream, { code: 'protocol_error', message: `sent data ${when}` }, log);
    }
    const { roomBytes } = receiving;
    if (bytes.length > roomBytes) {
      const message = `sent ${bytes.length} bytes with ${roomBytes} of credit left`;
      return resetForBreach(stream, { code: 'window_exceeded', message }, log);
    }
    if (receiving.arrived(bytes.length)) stream.scheduleCredit();
    else this.#acks.add(stream);
    stream.dataArrived(bytes);
  }

  /** A frame of another type. A malformed one ends its stream, never the session. */
  onFrame(type: FrameType, number: number, payload: Uint8Array): void {
    if (type === FrameType.sync) return this.#onSync(payload);
    try {
      this.#dispatch(type, number, payload);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      const stream = this.#streams.get(number);
      if (stream !== undefined) return resetForBreach(stream, error, this.#options.log);
      const { code, message } = error;
      this.#options.log.warn('bad frame from peer', { stream: number, code, error: message });
      this.#scheduler.reply(FrameType.reset, number, encodeFailure(error));
    }
  }

  /**
   * Sends one frame over the link, or the control frames of one stream. False: there was nothing to
   * send.
   */
  pullFrame(): boolean {
    return this.#scheduler.pullFrame();
  }

  /** Ends every stream with `error`, because the link or the session is gone. Idempotent. */
  close(error: TunnelError): void {
    this.#closed ??= error;
    this.#scheduler.close();
    this.#acks.stop();
    for (const stream of this.#streams) {
      // The acceptor's target has sent and received everything by then. Only the opener's last
      // CREDIT is missing, which may have been lost with an opener that was done.
      const isComplete = stream.receiving.hasFin && stream.sending.hasSentFin;
      stream.fail(stream.role === 'acceptor' && isComplete ? undefined : error);
    }
  }

  /** Resolves when no stream is left, or rejects with the signal's reason. */
  async idle(signal: AbortSignal): Promise<void> {
    if (!(await this.#streams.isEmpty.wait(signal))) signal.throwIfAborted();
  }

  grant(stream: Stream, bytes: number): boolean {
    const nowMs = this.#options.clock.now();
    const isDue = stream.receiving.take(bytes, nowMs, this.roundTrip.ms);
    if (isDue && this.roundTrip.due(nowMs)) {
      this.#scheduler.reply(FrameType.ping, 0, this.roundTrip.ask(nowMs));
    }
    return isDue;
  }

  ended(stream: Stream): void {
    this.#acks.delete(stream);
    this.#grants.update(stream);
    this.#streams.end(stream);
  }

  #add(number: number, role: Stream['role'], handler: (stream: Stream) => StreamHandler): Stream {
    const { limits, pool } = this.#options;
    const receiving = new ReceiveWindow({
      initialBytes: limits.initialWindowBytes,
      minBytes: limits.minWindowBytes,
      maxBytes: () => this.#maxWindowBytes,
      budget: this.budget,
    });
    this.#streams.use(number);
    const parts = { receiving, pool, owner: this, scheduler: this.#scheduler };
    const stream = new Stream({ number, role, ...parts }, handler);
    // A handler may end the stream while it is made.
    if (!stream.isEnded) this.#streams.add(stream);
    return stream;
  }

  #limitAnswer(stream: Stream, waitMs: number): Timer {
    return this.#options.clock.setTimer(waitMs, () => {
      const sentence = `the agent did not answer the dial within ${waitMs} ms`;
      stream.reset(new TunnelError('timeout', sentence));
      // An agent answers in time, if only with a timeout of its own. So the link may be dead, and
      // other dials wait on it.
      this.#scheduler.probe();
    });
  }

  #dispatch(type: FrameType, number: number, payload: Uint8Array): void {
    switch (type) {
      case FrameType.open:
        if (this.#acceptor !== undefined) return this.#acceptor.onOpen(number, payload);
        throw new TunnelError('protocol_error', 'OPEN is for the agent, this end is the dialer');
      case FrameType.ping:
        checkPing(payload);
        return this.#scheduler.reply(FrameType.pong, 0, new Uint8Array(payload));
      case FrameType.pong:
        return this.roundTrip.answer(payload, this.#options.clock.now());
      case FrameType.opened:
      case FrameType.refused:
      case FrameType.fin:
      case FrameType.reset:
      case FrameType.credit: {
        const stream = this.#streams.get(number);
        if (stream === undefined) return this.#unknown(number, type);
        applyFrame(stream, type, payload, this.#grants.maxKeptBytes(stream));
        this.#grants.update(stream);
        if (type === FrameType.credit && stream.isDone) stream.fail(undefined);
        return;
      }
      default:
        throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
  }

  /** A frame for a stream that this end does not have: ended, or never opened. */
  #unknown(number: number, type: FrameType): void {
    if (this.#streams.isUsed(number) || type === FrameType.reset) return;
    // The number is used up, so that further frames with it get no answer and no log line.
    this.#streams.use(number);
    const name = frameName(type);
    this.#options.log.warn('frame for an unknown stream', { stream: number, type: name });
    const sentence = `${name} for stream ${number}, which was never opened`;
    const error = new TunnelError('unknown_stream', sentence);
    this.#scheduler.reply(FrameType.reset, number, encodeFailure(error));
  }

  /** SYNC is about the session, so a malformed one ends the session and not a stream. */
  #onSync(payload: Uint8Array): void {
    const { log, onMoved, onResumed, onBroken } = this.#options;
    try {
      const outcome = this.#sync.onSync(payload);
      if (outcome === 'moved') return onMoved?.();
      if (outcome === undefined) return;
      this.resentBytes += outcome;
      onResumed?.(outcome);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      log.warn('session broken by peer', { code: error.code, error: error.message });
      onBroken?.(error);
    }
  }

  #controlSent(stream: Stream): void {
    if (stream.failure !== undefined) this.#sync.sentEnding(stream.number, stream.failure);
    else if (stream.isDone) stream.fail(undefined);
  }
}
