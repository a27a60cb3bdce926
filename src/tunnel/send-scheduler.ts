import type { Clock, Timer } from '../base/clock.ts';
import { DataQueue } from './data-queue.ts';
import { FrameType, frameHeaderBytes, writeFrameHeader } from './frame.ts';
import type { Link } from './link.ts';
import { encodeFailure, encodeMessage } from './message.ts';
import { writeOffset } from './offset.ts';
import { encodeOpen } from './open-message.ts';
import { maxDataBytes } from './slab.ts';
import { PendingControl } from './pending-control.ts';
import type { Stream } from './stream.ts';

/**
 * Answers that wait for room on the link. A peer that asks for more without reading loses the
 * surplus.
 */
const maxReplies = 1024;

/** How long frames that may wait do so for others, in milliseconds. */
const patienceMs = 5;

/**
 * A link is being asked to pull, so that a verb of a stream may be running. It is one fact for all
 * sessions of the process, because a link carries many sessions, and one that is asked by one
 * session pulls from all of them.
 */
let isAsking = false;

/** Streams whose writers continue once that verb has returned. */
let writable: Stream[] = [];

interface Reply {
  readonly type: FrameType;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/**
 * Chooses what a session sends next: control before data, one frame for each pull. `DataQueue` has
 * the order of the streams.
 * Pending control is not stored as bytes but as facts (`Stream.pendingControl`), so that ten grants
 * to one stream become one CREDIT while the link is full.
 */
export class SendScheduler {
  #link: Link | undefined;
  #number = 0;
  #wake: ((now: boolean) => void) | undefined;
  #replies: Reply[] = [];
  #pending: Stream[] = [];
  readonly #data = new DataQueue();
  /** On a new link no frame of a stream is sent before the other end has reported what it has. */
  #inStep = true;
  readonly #clock: Clock;
  readonly #sent: (stream: Stream) => void;
  /** Ends the wait of frames that may wait. */
  #patience: Timer | undefined;
  /** When the first of them was scheduled; undefined: none waits. */
  #patientSinceMs: number | undefined;

  /** @param sent called after the control frames of a stream were sent */
  constructor(clock: Clock, sent: (stream: Stream) => void) {
    this.#clock = clock;
    this.#sent = sent;
  }

  get number(): number {
    return this.#number;
  }

  get hasFrames(): boolean {
    if (this.#replies.length > 0) return true;
    return this.#inStep && (this.#pending.length > 0 || !this.#data.isEmpty);
  }

  /** Number of streams, including ended ones, with control frames to send. */
  get pendingStreams(): number {
    return this.#pending.length;
  }

  /** Ended streams that the other end can know, and whose RESET was not sent. */
  get unsentEndings(): readonly Stream[] {
    return this.#pending.filter(
      ({ pendingControl, isAnnounced }) =>
        isAnnounced && (pendingControl & PendingControl.reset) !== 0,
    );
  }

  /** Only `reply` frames go out until `resume`. */
  attach(link: Link, number: number, wake: (now: boolean) => void): void {
    this.#link = link;
    this.#number = number;
    this.#wake = wake;
    this.#inStep = false;
  }

  /**
   * The link is gone. Pending control and data wait for the next link; answers to frames of the old
   * link are dropped.
   */
  detach(): void {
    this.#link = undefined;
    this.#wake = undefined;
    this.#replies = [];
  }

  /** Both ends know what the other has, so that streams continue. */
  resume(): void {
    this.#inStep = true;
    // An OPEN that is sent again must not come behind that of a later stream: numbers only rise.
    this.#pending.sort((a, b) => a.number - b.number);
    if (this.hasFrames) this.#ask(false);
  }

  /** Drops all frames that wait, and sends no more. */
  close(): void {
    this.#patience?.cancel();
    this.#patience = undefined;
    this.#link = undefined;
    this.#replies = [];
    this.#pending = [];
    this.#data.clear();
  }

  /** A last frame about the session, whether the link has room or not. */
  sendNow(type: FrameType, payload: Uint8Array): void {
    this.#link?.sendCopy(type, this.#number, 0, payload);
  }

  /** An answer is late, so that the link may be dead. */
  probe(): void {
    this.#link?.probe?.();
  }

  /** Sends a frame that belongs to no stream of this end. */
  reply(type: FrameType, stream: number, payload: Uint8Array): void {
    if (this.#replies.length >= maxReplies) return;
    this.#replies.push({ type, stream, payload });
    this.#ask(false);
  }

  /** The stream has another control frame to send, a bit of `PendingControl`. */
  schedule(stream: Stream, bit: number): void {
    if (stream.pendingControl === bit) this.#pending.push(stream);
    if (!mayWait(stream, bit)) return this.#ask(false);
    this.#patientSinceMs ??= this.#clock.now();
    if (this.#patience === undefined) this.#awaitOthers(patienceMs);
  }

  /** The stream has bytes and credit. */
  hasData(stream: Stream): void {
    this.#enqueue(stream);
    this.#ask(stream.sending.unsentBytes >= maxDataBytes);
  }

  /** Sends one frame, or the control frames of one stream. False: there was nothing to send. */
  pullFrame(): boolean {
    const link = this.#link;
    if (link === undefined) return false;
    const reply = this.#replies.shift();
    if (reply !== undefined) {
      link.sendCopy(reply.type, this.#number, reply.stream, reply.payload);
      return true;
    }
    if (!this.#inStep) return false;
    const pending = this.#pending.shift();
    if (pending !== undefined) {
      if (this.#pending.length === 0) this.#patientSinceMs = undefined;
      this.#sendControl(link, pending);
      this.#sent(pending);
      return true;
    }
    const sender = this.#data.next();
    if (sender === undefined) return false;
    this.#sendData(link, sender);
    return true;
  }

  /**
   * The frames that wait leave after `delayMs`, unless others have taken them along. Frames that came
   * later wait on.
   */
  #awaitOthers(delayMs: number): void {
    this.#patience = this.#clock.setTimer(delayMs, () => {
      this.#patience = undefined;
      if (this.#patientSinceMs === undefined) return;
      const leftMs = this.#patientSinceMs + patienceMs - this.#clock.now();
      // A timer may be early by a part of a millisecond.
      if (leftMs >= 1) this.#awaitOthers(leftMs);
      else if (this.hasFrames) this.#ask(false);
    });
  }

  #ask(now: boolean): void {
    const wasAsking = isAsking;
    isAsking = true;
    this.#wake?.(now);
    isAsking = wasAsking;
  }

  #enqueue(stream: Stream): void {
    if (stream.sending.enqueue()) this.#data.add(stream);
  }

  #sendData(link: Link, stream: Stream): void {
    stream.sending.dequeued();
    if (stream.isEnded) return;
    const block = stream.nextData();
    if (block !== undefined) {
      const { slab, start } = block;
      writeFrameHeader(slab.bytes, start, FrameType.data, this.#number, stream.number);
      this.#data.sent(stream, block.end - start - frameHeaderBytes);
      link.send(block);
      if (stream.sending.hasData) this.#enqueue(stream);
    }
    tellWriter(stream);
  }

  #sendControl(link: Link, stream: Stream): void {
    const control = stream.takePendingControl();
    if ((control & PendingControl.open) !== 0) {
      stream.openSent();
      const window = stream.receiving.limit;
      const open = encodeOpen({ ...stream.request!, window, stop: true });
      link.sendCopy(FrameType.open, this.#number, stream.number, open);
    }
    if ((control & PendingControl.opened) !== 0) {
      const opened = encodeMessage({ window: stream.receiving.limit, stop: true });
      link.sendCopy(FrameType.opened, this.#number, stream.number, opened);
    }
    if ((control & PendingControl.credit) !== 0) {
      const credit = new Uint8Array(16);
      writeOffset(credit, 0, stream.receiving.receivedOffset);
      writeOffset(credit, 8, stream.receiving.limit);
      stream.receiving.advertised();
      link.sendCopy(FrameType.credit, this.#number, stream.number, credit);
    }
    if ((control & PendingControl.fin) !== 0) {
      const length = new Uint8Array(8);
      writeOffset(length, 0, stream.sending.written);
      stream.sending.finSent();
      link.sendCopy(FrameType.fin, this.#number, stream.number, length);
    }
    // The other end needs no RESET for a stream that it does not know.
    if ((control & PendingControl.reset) !== 0 && stream.isAnnounced) {
      const type =
        stream.isAccepted || stream.role === 'opener' ? FrameType.reset : FrameType.refused;
      link.sendCopy(type, this.#number, stream.number, encodeFailure(stream.failure!));
    }
  }
}

/**
 * Whether a frame may wait for others, because nobody waits for it. A frame that leaves alone costs
 * as much as a short exchange. For every stream this is the opener's last CREDIT, behind which both
 * directions are over. For a patient stream it is also OPENED, the opener's FIN, and the CREDIT for
 * a FIN. At the acceptor, a stream is patient only if the opener sends nothing behind OPEN, and if
 * its request can be repeated: an agent that is lost before OPENED may have begun it.
 */
function mayWait({ isPatient, role, receiving, sending }: Stream, bit: number): boolean {
  switch (bit) {
    case PendingControl.credit:
      return receiving.hasFin && (isPatient || (role === 'opener' && sending.isFinAcknowledged));
    case PendingControl.fin:
      return isPatient && role === 'opener';
    default:
      return isPatient && bit === PendingControl.opened;
  }
}

/** Handlers are never called from inside a verb of any stream. */
function tellWriter(stream: Stream): void {
  if (!isAsking) return stream.wakeWriter();
  if (writable.push(stream) > 1) return;
  queueMicrotask(() => {
    const told = writable;
    writable = [];
    for (const waiting of told) waiting.wakeWriter();
  });
}
