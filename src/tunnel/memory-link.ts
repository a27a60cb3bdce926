import { TunnelError } from './errors.ts';
import { FrameDecoder, type FrameLimits } from './frame-decoder.ts';
import { frameHeaderBytes, writeFrameHeader, type FrameType } from './frame.ts';
import { defaultLimits } from './limits.ts';
import type { AttachableLink, LinkOwner } from './link.ts';
import { maxDataBytes, SlabPool, type Block, type Slab } from './slab.ts';

export interface MemoryLinkOptions {
  /**
   * Bytes that may wait in each direction before the sender is no longer asked for more (default
   * 256 KiB).
   */
  readonly roomBytes?: number;
  /** Bounds on what either end accepts (default `defaultLimits`). */
  readonly limits?: FrameLimits;
  /** Where copied frames are put (default: a pool of the pair's own). */
  readonly pool?: SlabPool;
  /** How the first and the second end call their peer in logs (default `memory`). */
  readonly peers?: readonly [string, string];
}

const keptPoolBytes = 1024 * 1024;

/**
 * Two links joined by function calls, for a dialer and a broker in one process. What one end sends
 * is delivered to the other's owner from `schedule`, never from inside a call of the sender, so
 * neither owner is re-entered.
 *
 * @param schedule runs a function later, in the order given, once: at the end of the turn, or when
 *   a test decides
 */
export function memoryLinkPair(
  schedule: (run: () => void) => void,
  options: MemoryLinkOptions = {},
): [MemoryLink, MemoryLink] {
  const [firstPeer, secondPeer] = options.peers ?? ['memory', 'memory'];
  const pool = options.pool ?? new SlabPool(keptPoolBytes);
  const first = new MemoryLink(firstPeer, schedule, { ...options, pool });
  const second = new MemoryLink(secondPeer, schedule, { ...options, pool });
  first.join(second);
  second.join(first);
  return [first, second];
}

interface QueuedFrame {
  readonly bytes: Uint8Array;
  /** None: the bytes are this frame's own. */
  readonly slab: Slab | undefined;
}

/** One end of `memoryLinkPair`. */
export class MemoryLink implements AttachableLink {
  readonly peer: string;
  readonly #schedule: (run: () => void) => void;
  readonly #roomBytes: number;
  readonly #limits: FrameLimits;
  readonly #pool: SlabPool;
  #other: MemoryLink | undefined;
  #owner: LinkOwner | undefined;
  #decoder: FrameDecoder | undefined;
  #state: 'open' | 'closing' | 'closed' = 'open';
  #closeError: TunnelError | undefined;

  #queue: QueuedFrame[] = [];
  #queuedBytes = 0;
  #copySlab: Slab | undefined;
  #copyEnd = 0;
  #scheduled = false;
  #paused = false;
  #wantsPull = false;
  #pulling = false;
  readonly #turn = (): void => this.#runTurn();

  constructor(
    peer: string,
    schedule: (run: () => void) => void,
    options: MemoryLinkOptions & { readonly pool: SlabPool },
  ) {
    this.peer = peer;
    this.#schedule = schedule;
    this.#roomBytes = options.roomBytes ?? 256 * 1024;
    this.#limits = options.limits ?? defaultLimits;
    this.#pool = options.pool;
  }

  /** Called once by `memoryLinkPair`. */
  join(other: MemoryLink): void {
    this.#other = other;
  }

  /** Names the owner; what the other end sent before waits for this. Call once. */
  attach(owner: LinkOwner): void {
    this.#owner = owner;
    this.#decoder = new FrameDecoder(owner, this.#limits);
    if (this.#state === 'closed') this.#schedule(() => owner.onClose(this.#closeError));
    this.#other!.#scheduleTurn();
  }

  get room(): number {
    return this.#state === 'open' ? this.#roomBytes - this.#queuedBytes : 0;
  }

  send(block: Block): void {
    if (this.#state !== 'open') return;
    block.slab.retain();
    this.#enqueue(block.slab.bytes.subarray(block.start, block.end), block.slab);
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (this.#state !== 'open') return;
    const frameBytes = frameHeaderBytes + payload.length;
    const slab = this.#slabFor(frameBytes);
    const into = slab?.bytes ?? new Uint8Array(frameBytes);
    const start = slab === undefined ? 0 : this.#copyEnd;
    writeFrameHeader(into, start, type, session, stream);
    into.set(payload, start + frameHeaderBytes);
    slab?.retain();
    if (slab !== undefined) this.#copyEnd = start + frameBytes;
    this.#enqueue(into.subarray(start, start + frameBytes), slab);
  }

  wake(now = false): void {
    if (this.#state !== 'open') return;
    this.#wantsPull = true;
    if (now && !this.#pulling && this.room > 0) this.#pull();
    else this.#scheduleTurn();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#other!.#scheduleTurn();
  }

  close(error?: TunnelError): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    this.#closeError = error;
    this.#scheduleTurn();
  }

  #enqueue(bytes: Uint8Array, slab: Slab | undefined): void {
    this.#queue.push({ bytes, slab });
    this.#queuedBytes += bytes.length;
    // An owner that fills the link is asked again when there is room, so that it need not wake the
    // link.
    if (this.room <= 0) this.#wantsPull = true;
    this.#scheduleTurn();
  }

  /** The slab that copied frames share, or none for a frame larger than any slab. */
  #slabFor(frameBytes: number): Slab | undefined {
    if (frameBytes > maxDataBytes + frameHeaderBytes) return undefined;
    if (this.#copySlab !== undefined && this.#copyEnd + frameBytes > this.#copySlab.bytes.length) {
      this.#dropCopySlab();
    }
    this.#copySlab ??= this.#pool.take(maxDataBytes);
    return this.#copySlab;
  }

  #dropCopySlab(): void {
    this.#copySlab?.release();
    this.#copySlab = undefined;
    this.#copyEnd = 0;
  }

  #scheduleTurn(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(this.#turn);
  }

  #runTurn(): void {
    this.#scheduled = false;
    const other = this.#other!;
    // Frames for an end that does not read, or has no owner yet, wait. The error of a close waits
    // with them.
    if (other.#reads) {
      this.#deliver(other);
      if (this.#queue.length === 0) {
        this.#dropCopySlab();
        if (this.#state !== 'open') other.#finish(this.#closeError);
      }
    }
    if (this.#state === 'closing') this.#finish(this.#closeError);
    else if (this.#wantsPull && this.room > 0) this.#pull();
  }

  #deliver(other: MemoryLink): void {
    const frames = this.#queue;
    this.#queue = [];
    let delivered = 0;
    // The other end may stop reading in the middle of a batch.
    while (delivered < frames.length && other.#reads) {
      const frame = frames[delivered++]!;
      other.#receive(frame.bytes);
      this.#queuedBytes -= frame.bytes.length;
      frame.slab?.release();
    }
    if (delivered < frames.length) this.#queue = [...frames.slice(delivered), ...this.#queue];
  }

  get #reads(): boolean {
    return this.#state !== 'open' || (this.#owner !== undefined && !this.#paused);
  }

  #receive(bytes: Uint8Array): void {
    if (this.#state !== 'open') return;
    try {
      this.#decoder!.push(bytes, true);
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  #pull(): void {
    if (this.#owner === undefined) return;
    this.#wantsPull = false;
    this.#pulling = true;
    try {
      this.#owner.pull();
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    } finally {
      this.#pulling = false;
    }
  }

  /**
   * @param given the error for the owner; an end that closed by itself has its own error instead
   */
  #finish(given: TunnelError | undefined): void {
    if (this.#state === 'closed') return;
    const reason = this.#state === 'closing' ? this.#closeError : given;
    this.#state = 'closed';
    this.#closeError = reason;
    const other = this.#other!;
    if (other.#reads) this.#dropQueue();
    this.#owner?.onClose(reason);
  }

  #dropQueue(): void {
    for (const frame of this.#queue) frame.slab?.release();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#dropCopySlab();
  }
}
