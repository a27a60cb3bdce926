import type { Clock, Timer } from '../base/clock.ts';
import { Condition } from '../base/condition.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from './errors.ts';
import { FrameType, frameName } from './frame.ts';
import type { TunnelLimits } from './limits.ts';
import type { Link } from './link.ts';
import { encodeFailure } from './message.ts';
import { decodeOpen, type Open } from './open-message.ts';
import { SendScheduler } from './send-scheduler.ts';
import { checkPing } from './ping.ts';
import { ReceiveWindow } from './receive-window.ts';
import { RoundTrip } from './round-trip.ts';
import { movedSync, noStreams, reconcile, SessionSync, type TheirStreams } from './session-sync.ts';
import type { SlabPool } from './slab.ts';
import { Owed, Stream, type StreamOwner } from './stream.ts';
import { applyFrame } from './stream-frame.ts';
import type { StreamHandler } from './stream-handler.ts';
import { callerProblem, isTraceparent, type StreamRequest } from './stream-request.ts';
import { decodeSync } from './sync-message.ts';
import { WindowBudget } from './window-budget.ts';

/** How much longer than the agent the dialer waits for the answer to OPEN, in milliseconds. */
const answerGraceMs = 2_000;

export interface SessionOptions {
  /** Decides about each stream that the other end opens; undefined at the end that opens them. */
  readonly accept?: (request: StreamRequest, stream: Stream) => StreamHandler;
  readonly clock: Clock;
  readonly limits: TunnelLimits;
  readonly pool: SlabPool;
  /** The process's budget of receive windows. */
  readonly budget: WindowBudget;
  /** What all other ends together may make this process keep with their grants (default: only each session is limited). */
  readonly grantBudget?: WindowBudget;
  readonly log: Logger;
  /** The other end broke the rules of the session itself: whoever made the session ends it. */
  readonly onBroken?: (error: TunnelError) => void;
  /** The other end has the session on another link: what is sent on this one goes nowhere. */
  readonly onMoved?: () => void;
  /** The other end has said on a further link what it has: streams go on, `resentBytes` go out again. */
  readonly onResumed?: (resentBytes: number) => void;
}

/**
 * The relation between one dialer and one agent: its streams, their credit, and what goes out next. It has no socket and
 * no clock of its own; a link (or a demultiplexer in front of one) brings frames in and pulls frames out.
 */
export class Session implements StreamOwner {
  readonly roundTrip = new RoundTrip();
  readonly budget: WindowBudget;
  readonly #options: SessionOptions;
  /** Bytes that the other end has granted and not acknowledged: what it can make this end keep. */
  readonly #grants: WindowBudget;
  readonly #streams = new Map<number, Stream>();
  #ended: Stream[] = [];
  /** Streams whose received bytes the other end has not heard of. */
  readonly #unacknowledged = new Set<Stream>();
  #acknowledgeTimer: Timer | undefined;
  readonly #outgoing = new SendScheduler((stream) => this.#sent(stream));
  #maxWindowBytes: number;
  #nextStream = 1;
  #highestStream = 0;
  readonly #isIdle = new Condition(() => this.#streams.size === 0);
  #closed: TunnelError | undefined;
  readonly #sync: SessionSync;
  /** Bytes that were sent again, over all links. */
  resentBytes = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#maxWindowBytes = options.limits.maxWindowBytes;
    this.budget = new WindowBudget(options.limits.sessionBudgetBytes, options.budget);
    // An honest end grants its own budget, and lets up to half of that go unacknowledged.
    this.#grants = new WindowBudget(2 * options.limits.sessionBudgetBytes, options.grantBudget);
    this.#sync = new SessionSync(options.limits.maxStreams);
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Frames wait for the link. */
  get hasFrames(): boolean {
    return this.#outgoing.hasFrames;
  }

  /** No stream has been answered: another agent can as well be asked. */
  get unanswered(): boolean {
    for (const { accepted } of this.#streams.values()) if (accepted) return false;
    return true;
  }

  /** Ends the streams that have not been answered, so that another agent can be asked. */
  failUnanswered(error: TunnelError): void {
    for (const stream of this.#streams.values()) if (!stream.accepted) stream.fail(error);
  }

  /**
   * Sends through `link` from now on, with `number` in the frames.
   *
   * @param wake asks for `pullFrame` calls; `now` where it should happen before this turn goes on
   * @param resume the other end has the session already: both first tell what they have (docs/protocol.md, "Resume");
   *   else it is new, and hears of every stream from its OPEN on
   */
  attach(link: Link, number: number, wake: (now: boolean) => void, resume = false): void {
    this.detach();
    this.#outgoing.attach(link, number, wake);
    if (!resume) return void this.#reconcile(noStreams);
    const frames = this.#sync.begin(this.#streams.values(), this.#outgoing.unsentEndings);
    for (const payload of frames) this.#outgoing.reply(FrameType.sync, 0, payload);
  }

  /** Tells the other end that this link no longer carries the session; `attach` to another follows. */
  leave(): void {
    this.#outgoing.sendNow(FrameType.sync, movedSync);
  }

  /** A broker on the way cannot hold more than this of a stream: windows grow no further. */
  limitWindows(maxBytes: number): void {
    this.#maxWindowBytes = Math.min(this.#maxWindowBytes, maxBytes);
  }

  /** The link is gone. Streams live on, nothing of them is lost, and `attach` makes them go on. Idempotent. */
  detach(): void {
    this.#outgoing.detach();
    this.#sync.abandon();
    this.roundTrip.forget();
  }

  /**
   * Opens a stream and returns at once. The handler learns what happens to it. A stream of a closed session ends with the
   * error that closed the session, and one whose caller exceeds `callerLimits` ends with `dial_failed`. An invalid trace
   * is not sent.
   *
   * @param handler makes the handler of the new stream
   */
  open(request: StreamRequest, handler: (stream: Stream) => StreamHandler): Stream {
    const stream = this.#add(this.#nextStream++, handler);
    const problem = this.#closed ?? requestProblem(request);
    if (problem !== undefined) stream.fail(problem);
    if (stream.ended) return stream;
    const { timeoutMs, trace } = request;
    const isTraced = trace !== undefined && isTraceparent(trace);
    stream.openRequest = isTraced ? request : { ...request, trace: undefined };
    stream.owed = Owed.open;
    this.owes(stream);
    if (timeoutMs > 0) {
      stream.answerTimer = this.#options.clock.setTimer(timeoutMs + answerGraceMs, () => {
        const sentence = `the agent did not answer the dial within ${timeoutMs + answerGraceMs} ms`;
        stream.reset(new TunnelError('timeout', sentence));
        // An agent answers in time, if only with a timeout of its own: the link may be dead, and other dials wait on it.
        this.#outgoing.probe();
      });
    }
    return stream;
  }

  /** A piece of DATA for this session; see `LinkOwner.onData`. */
  onData(number: number, bytes: Uint8Array): void {
    const stream = this.#streams.get(number);
    if (stream === undefined) return this.#unknown(number, FrameType.data);
    if (!stream.accepted || stream.finReceived) {
      const when = stream.accepted ? 'after its FIN' : 'before OPENED';
      return this.#breach(stream, 'protocol_error', `sent data ${when}`);
    }
    const room = stream.receiving.roomBytes;
    if (bytes.length > room) {
      const sentence = `sent ${bytes.length} bytes with ${room} of credit left`;
      return this.#breach(stream, 'window_exceeded', sentence);
    }
    if (stream.receiving.arrived(bytes.length)) stream.owesCredit();
    else this.#acknowledgeLater(stream);
    if (stream.receivingStopped) stream.dropped(bytes.length);
    else stream.handler.onData(bytes);
  }

  /** A frame of another type for this session. A malformed one ends its stream, never the session. */
  onFrame(type: FrameType, number: number, payload: Uint8Array): void {
    if (type === FrameType.sync) return this.#onSync(payload);
    try {
      this.#dispatch(type, number, payload);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      const stream = this.#streams.get(number);
      if (stream !== undefined) return this.#breach(stream, error.code, error.message);
      this.#options.log.warn('bad frame from peer', {
        stream: number,
        code: error.code,
        error: error.message,
      });
      this.#outgoing.reply(FrameType.reset, number, encodeFailure(error));
    }
  }

  /** Sends one frame over the link, or the control frames of one stream. False: there was nothing to send. */
  pullFrame(): boolean {
    return this.#outgoing.pullFrame();
  }

  /** Ends every stream with `error`; the link is gone, or the session is. Idempotent. */
  close(error: TunnelError): void {
    this.#closed ??= error;
    this.#outgoing.close();
    this.#acknowledgeTimer?.cancel();
    this.#acknowledgeTimer = undefined;
    for (const stream of this.#streams.values()) {
      // An agent's target has said and heard everything by then: only the dialer's last word is missing, and may have got
      // lost with a dialer that was done.
      const done = this.#options.accept !== undefined && stream.finReceived && stream.finSent;
      stream.fail(done ? undefined : error);
    }
  }

  /** Resolves when no stream is left, or rejects with the signal's reason. */
  async idle(signal: AbortSignal): Promise<void> {
    if (!(await this.#isIdle.wait(signal))) signal.throwIfAborted();
  }

  // What a stream asks for.

  owes(stream: Stream): void {
    this.#outgoing.owes(stream);
  }

  hasData(stream: Stream): void {
    this.#outgoing.hasData(stream);
  }

  grant(stream: Stream, bytes: number): boolean {
    const nowMs = this.#options.clock.now();
    const tell = stream.receiving.take(bytes, nowMs, this.roundTrip.ms);
    if (tell && this.roundTrip.due(nowMs)) {
      this.#outgoing.reply(FrameType.ping, 0, this.roundTrip.ask(nowMs));
    }
    return tell;
  }

  ended(stream: Stream): void {
    this.#streams.delete(stream.number);
    this.#unacknowledged.delete(stream);
    this.#grants.giveBack(stream.grantedBytes);
    stream.grantedBytes = 0;
    stream.answerTimer?.cancel();
    if (this.#ended.push(stream) > 1) return;
    // Handlers are never called from inside a verb, so the last word comes after the present call.
    queueMicrotask(() => this.#sayClosed());
  }

  #sayClosed(): void {
    const ended = this.#ended;
    this.#ended = [];
    for (const stream of ended) stream.handler.onClose(stream.failure);
    this.#isIdle.changed();
  }

  #add(number: number, handler: (stream: Stream) => StreamHandler): Stream {
    const { limits, pool } = this.#options;
    const receiving = new ReceiveWindow({
      initialBytes: limits.initialWindowBytes,
      minBytes: limits.minWindowBytes,
      maxBytes: () => this.#maxWindowBytes,
      budget: this.budget,
    });
    this.#highestStream = Math.max(this.#highestStream, number);
    const stream = new Stream(number, handler, receiving, pool, this);
    // A handler may end the stream while it is made.
    if (!stream.ended) this.#streams.set(number, stream);
    return stream;
  }

  #dispatch(type: FrameType, number: number, payload: Uint8Array): void {
    switch (type) {
      case FrameType.open:
        return this.#onOpen(number, payload);
      case FrameType.ping:
        checkPing(payload);
        return this.#outgoing.reply(FrameType.pong, 0, new Uint8Array(payload));
      case FrameType.pong:
        return this.roundTrip.answer(payload, this.#options.clock.now());
      case FrameType.opened:
      case FrameType.refused:
      case FrameType.fin:
      case FrameType.reset:
      case FrameType.credit: {
        const stream = this.#streams.get(number);
        if (stream === undefined) return this.#unknown(number, type);
        applyFrame(stream, type, payload, this.#maxKeptBytes(stream));
        this.#countGrant(stream);
        if (type === FrameType.credit) this.#endIfDone(stream);
        return;
      }
      case FrameType.data:
      case FrameType.hello:
      case FrameType.welcome:
      case FrameType.attach:
      case FrameType.detach:
      case FrameType.goaway:
      case FrameType.sync:
        throw new TunnelError('protocol_error', `${frameName(type)} does not belong in a session`);
    }
  }

  #onOpen(number: number, payload: Uint8Array): void {
    const { accept, limits } = this.#options;
    if (accept === undefined) {
      throw new TunnelError('protocol_error', 'OPEN is for the agent, this end is the dialer');
    }
    if (number <= this.#highestStream) {
      // An OPEN that is repeated for a live stream changes nothing; a used number never comes back.
      if (this.#streams.has(number)) return;
      throw new TunnelError('protocol_error', `stream number ${number} has been used before`);
    }
    this.#highestStream = number;
    const open = this.#decodeOpen(number, payload);
    if (open === undefined) return;
    // Streams that ended here and whose end the other end has not read count as well: they are no longer in the map.
    const streams = Math.max(this.#streams.size, this.#outgoing.owingStreams);
    if (streams >= limits.maxStreams) {
      const sentence = `the session has ${limits.maxStreams} streams open, its limit`;
      return this.#refuse(number, new TunnelError('stream_limit', sentence));
    }
    this.#add(number, (stream) => {
      stream.announced = true;
      stream.limit = Math.min(open.window, this.#maxKeptBytes(stream));
      this.#countGrant(stream);
      stream.peerKnowsStop = open.stop === true;
      return accept(open, stream);
    });
  }

  /** Undefined: the target is of a kind that only a later version knows, and the stream is refused. */
  #decodeOpen(number: number, payload: Uint8Array): Open | undefined {
    try {
      return decodeOpen(payload);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      if (error.code !== 'unsupported_target') throw error;
      this.#options.log.warn('stream refused', { stream: number, code: error.code });
      this.#refuse(number, error);
      return undefined;
    }
  }

  #refuse(number: number, error: TunnelError): void {
    this.#sync.sentEnding(number, error);
    this.#outgoing.reply(FrameType.refused, number, encodeFailure(error));
  }

  /** How far beyond what it has received the other end may let this one send; never less than the smallest window. */
  #maxKeptBytes({ grantedBytes }: Stream): number {
    const { minWindowBytes, maxWindowBytes } = this.#options.limits;
    const freeBytes = this.#grants.freeBytes + grantedBytes;
    return Math.min(maxWindowBytes, Math.max(minWindowBytes, freeBytes));
  }

  #countGrant(stream: Stream): void {
    const bytes = stream.ended ? 0 : Math.max(0, stream.limit - stream.sending.received);
    this.#grants.take(bytes - stream.grantedBytes);
    stream.grantedBytes = bytes;
  }

  /** A frame for a stream that is not there: one that has ended is normal, one that never was is answered. */
  #unknown(number: number, type: FrameType): void {
    if (number <= this.#highestStream || type === FrameType.reset) return;
    // The number is used up: one answer and one line in the log, whatever follows on it.
    this.#highestStream = number;
    const sentence = `${frameName(type)} for stream ${number}, which was never opened`;
    this.#options.log.warn('frame for an unknown stream', {
      stream: number,
      type: frameName(type),
    });
    this.#outgoing.reply(
      FrameType.reset,
      number,
      encodeFailure(new TunnelError('unknown_stream', sentence)),
    );
  }

  #breach(stream: Stream, code: TunnelError['code'], what: string): void {
    const error = new TunnelError(code, `stream ${stream.number} ${what}`);
    this.#options.log.warn('stream reset for a breach', {
      stream: stream.number,
      code,
      error: error.message,
    });
    stream.reset(error);
  }

  /** SYNC is about the session, so a bad one ends the session and not a stream. */
  #onSync(payload: Uint8Array): void {
    try {
      const sync = decodeSync(payload);
      if (sync.moved) return this.#options.onMoved?.();
      const theirs = this.#sync.receive(sync);
      if (theirs === undefined) return;
      const resentBytes = this.#reconcile(theirs);
      this.#options.onResumed?.(resentBytes);
    } catch (thrown) {
      const error = TunnelError.from(thrown);
      this.#options.log.warn('session broken by peer', { code: error.code, error: error.message });
      this.#options.onBroken?.(error);
    }
  }

  /** Returns how many bytes go out again. */
  #reconcile(theirs: TheirStreams): number {
    let resentBytes = 0;
    for (const stream of this.#streams.values()) {
      try {
        resentBytes += reconcile(stream, theirs, this.#maxKeptBytes(stream));
        this.#countGrant(stream);
      } catch (thrown) {
        const { code, message } = TunnelError.from(thrown);
        this.#breach(stream, code, message);
      }
    }
    this.resentBytes += resentBytes;
    this.#outgoing.resume();
    return resentBytes;
  }

  /** The control frames of a stream went out. */
  #sent(stream: Stream): void {
    if (stream.failure !== undefined) this.#sync.sentEnding(stream.number, stream.failure);
    else this.#endIfDone(stream);
  }

  /** Both directions have ended and the other end knows all that it must know. */
  #endIfDone(stream: Stream): void {
    if (!stream.finAcknowledged || !stream.finReceived || (stream.owed & Owed.credit) !== 0) return;
    stream.fail(undefined);
  }

  #acknowledgeLater(stream: Stream): void {
    this.#unacknowledged.add(stream);
    this.#acknowledgeTimer ??= this.#options.clock.setTimer(this.#options.limits.ackDelayMs, () => {
      this.#acknowledgeTimer = undefined;
      for (const waiting of this.#unacknowledged) {
        if (waiting.receiving.untold) waiting.owesCredit();
      }
      this.#unacknowledged.clear();
    });
  }
}

function requestProblem({ caller }: StreamRequest): TunnelError | undefined {
  const problem = caller === undefined ? undefined : callerProblem(caller);
  return problem === undefined ? undefined : new TunnelError('dial_failed', `OPEN ${problem}`);
}
