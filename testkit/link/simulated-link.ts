import type { Clock } from '../../src/base/clock.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameDecoder } from '../../src/tunnel/frame-decoder.ts';
import {
  FrameType,
  encodeFrame,
  frameHeaderBytes,
  frameName,
  readU32,
} from '../../src/tunnel/frame.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import type { AttachableLink, LinkOwner } from '../../src/tunnel/link.ts';
import type { Block } from '../../src/tunnel/slab.ts';

export interface SimulatedLinkOptions {
  /** One way, in milliseconds (default 0). Order is kept when it varies. */
  readonly latencyMs?: () => number;
  /** Bytes that leave in a millisecond (default: all at once). */
  readonly bytesPerMs?: number;
  /**
   * Bytes that may wait in each direction before the sender is no longer asked for more (default
   * 256 KiB).
   */
  readonly roomBytes?: number;
  /** How many bytes the next piece of an arriving message has (default: whole messages). */
  readonly pieceBytes?: () => number;
}

/** A frame as it was given to the link. */
export interface SentFrame {
  readonly name: string;
  readonly stream: number;
  readonly payloadBytes: number;
  /** The payload, except that of DATA. */
  readonly control: Uint8Array | undefined;
  readonly atMs: number;
}

/**
 * Two links joined by a path with latency, bandwidth and a small buffer, all in the time of
 * `clock`. It is as nasty as the seam allows: bytes are read from a slab only when they leave,
 * arrive cut anywhere, and are overwritten once the receiver has returned; `wake(true)` pulls at
 * once.
 */
export function simulatedLinkPair(
  clock: Clock,
  options: SimulatedLinkOptions = {},
): [SimulatedLink, SimulatedLink] {
  const first = new SimulatedLink('second', clock, options);
  const second = new SimulatedLink('first', clock, options);
  first.join(second);
  second.join(first);
  return [first, second];
}

interface Travelling {
  readonly bytes: Uint8Array | undefined;
  readonly closeError?: TunnelError | undefined;
}

interface Waiting {
  /** The bytes of the frame where they lie; none: the link closes. */
  readonly bytes: Uint8Array | undefined;
  readonly closeError?: TunnelError | undefined;
  readonly release: () => void;
}

export class SimulatedLink implements AttachableLink {
  readonly peer: string;
  /** Every frame given so far, in order. */
  readonly sent: SentFrame[] = [];
  /** The most that ever waited here, in bytes. */
  peakQueuedBytes = 0;
  readonly #clock: Clock;
  readonly #options: SimulatedLinkOptions;
  readonly #roomBytes: number;
  #other: SimulatedLink | undefined;
  #owner: LinkOwner | undefined;
  #decoder: FrameDecoder | undefined;
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  /** Messages on their way to the other end; no bytes: the link closes behind the last. */
  readonly #travelling: Travelling[] = [];
  /** The messages that arrived before there was an owner. */
  #early: Uint8Array[] = [];
  #closeError: TunnelError | undefined;
  #open = true;
  #gone = false;
  #stalled = false;
  #silent = false;
  #leaving = false;
  #wantsPull = false;
  #pulling = false;
  #pullScheduled = false;
  #lastArrivalMs = 0;

  constructor(peer: string, clock: Clock, options: SimulatedLinkOptions) {
    this.peer = peer;
    this.#clock = clock;
    this.#options = options;
    this.#roomBytes = options.roomBytes ?? 256 * 1024;
  }

  join(other: SimulatedLink): void {
    this.#other = other;
  }

  attach(owner: LinkOwner): void {
    this.#owner = owner;
    this.#decoder = new FrameDecoder(owner, defaultLimits);
    if (this.#early.length > 0 || this.#gone) this.#clock.setTimer(0, () => this.#catchUp());
    if (this.#wantsPull) this.#pullSoon();
  }

  get room(): number {
    return this.#open ? this.#roomBytes - this.#queuedBytes : 0;
  }

  send({ slab, start, end }: Block): void {
    if (!this.#open) return;
    slab.retain();
    this.#enqueue(slab.bytes.subarray(start, end), () => slab.release());
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (this.#open) this.#enqueue(encodeFrame(type, session, stream, payload), () => {});
  }

  wake(now = false): void {
    if (!this.#open) return;
    this.#wantsPull = true;
    if (now && this.room > 0) this.#pull();
    else this.#pullSoon();
  }

  pause(): void {
    this.#other!.stall();
  }

  resume(): void {
    this.#other!.unstall();
  }

  close(error?: TunnelError): void {
    if (!this.#open) return;
    this.#open = false;
    this.#queue.push({ bytes: undefined, closeError: error, release: () => this.#finish(error) });
    this.#leave();
  }

  // Methods that only a simulated link has.

  get other(): SimulatedLink {
    return this.#other!;
  }

  /** Nothing leaves this end until `unstall`. */
  stall(): void {
    this.#stalled = true;
  }

  unstall(): void {
    this.#stalled = false;
    this.#leave();
  }

  /** The path is lost, with all that is on it; both owners learn it at once. */
  cut(): void {
    for (const end of this.#ends) end.lose(new TunnelError('link_lost', 'the path was cut'));
  }

  /** This end is gone, with what waits here; the other one has not noticed. */
  lose(error: TunnelError): void {
    for (const { bytes, release } of this.#queue) if (bytes !== undefined) release();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#finish(error);
  }

  /**
   * Nothing passes any more, either way. The ends find out by themselves, this one and the other
   * after these times.
   */
  silence(ownMs: number, otherMs: number): void {
    for (const [at, end] of this.#ends.entries()) {
      end.#silent = true;
      this.#clock.setTimer(at === 0 ? ownMs : otherMs, () =>
        end.lose(new TunnelError('peer_unresponsive', 'nothing was heard for too long')),
      );
    }
  }

  /** Detects a dead path after an interval, as links with pings do. */
  probe(): void {
    if (!this.#silent) return;
    this.#clock.setTimer(20_000, () =>
      this.lose(new TunnelError('peer_unresponsive', 'no answer to a ping')),
    );
  }

  get #ends(): [SimulatedLink, SimulatedLink] {
    return [this, this.#other!];
  }

  #catchUp(): void {
    const early = this.#early;
    this.#early = [];
    for (const message of early) this.#arrive(message);
    if (this.#gone) this.#owner!.onClose(this.#closeError);
  }

  #enqueue(bytes: Uint8Array, release: () => void): void {
    this.sent.push({
      atMs: this.#clock.now(),
      name: frameName(bytes[0]!),
      stream: readU32(bytes, 8),
      payloadBytes: bytes.length - frameHeaderBytes,
      control: bytes[0] === FrameType.data ? undefined : bytes.slice(frameHeaderBytes),
    });
    this.#queue.push({ bytes, release });
    this.#queuedBytes += bytes.length;
    this.peakQueuedBytes = Math.max(this.peakQueuedBytes, this.#queuedBytes);
    if (this.room <= 0) this.#wantsPull = true;
    this.#leave();
  }

  #leave(): void {
    const first = this.#queue[0];
    if (first === undefined || this.#leaving || this.#stalled || this.#gone) return;
    this.#leaving = true;
    const { bytesPerMs = Number.POSITIVE_INFINITY } = this.#options;
    this.#clock.setTimer((first.bytes?.length ?? 0) / bytesPerMs, () => {
      this.#leaving = false;
      if (this.#gone) return;
      if (!this.#stalled) {
        this.#queue.shift();
        this.#queuedBytes -= first.bytes?.length ?? 0;
        this.#travel({ bytes: first.bytes?.slice(), closeError: first.closeError });
        first.release();
      }
      if (this.#wantsPull && this.room > 0) this.#pull();
      this.#leave();
    });
  }

  #travel(message: Travelling): void {
    const nowMs = this.#clock.now();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, nowMs + (this.#options.latencyMs?.() ?? 0));
    this.#travelling.push(message);
    const other = this.#other!;
    this.#clock.setTimer(this.#lastArrivalMs - nowMs, () => {
      // Whichever timer this is, the oldest arrives: sums of times are not exact.
      const { bytes, closeError } = this.#travelling.shift()!;
      if (other.#silent) return;
      if (bytes === undefined) other.#finish(closeError);
      else other.#arrive(bytes);
    });
  }

  #arrive(message: Uint8Array): void {
    if (this.#gone) return;
    if (this.#decoder === undefined) return void this.#early.push(message);
    try {
      for (let at = 0; at < message.length && !this.#gone;) {
        const pieceBytes = Math.max(1, this.#options.pieceBytes?.() ?? message.length);
        const piece = message.slice(at, at + pieceBytes);
        at += piece.length;
        this.#decoder.push(piece, at === message.length);
        piece.fill(0xee);
      }
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  #pullSoon(): void {
    if (this.#pullScheduled) return;
    this.#pullScheduled = true;
    this.#clock.setTimer(0, () => {
      this.#pullScheduled = false;
      if (this.#wantsPull && this.room > 0) this.#pull();
    });
  }

  #pull(): void {
    if (this.#pulling || this.#owner === undefined || !this.#open) return;
    this.#wantsPull = false;
    this.#pulling = true;
    try {
      this.#owner.pull();
    } finally {
      this.#pulling = false;
    }
  }

  #finish(error: TunnelError | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#open = false;
    this.#closeError = error;
    for (const { bytes, release } of this.#queue) if (bytes !== undefined) release();
    this.#queue = [];
    this.#owner?.onClose(error);
  }
}
