import type { TunnelError } from '../../src/tunnel/errors.ts';
import { frameHeaderBytes, FrameType, writeFrameHeader } from '../../src/tunnel/frame.ts';
import type { Link, LinkOwner } from '../../src/tunnel/link.ts';
import { maxDataBytes, type SlabPool } from '../../src/tunnel/slab.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';

export interface RecordedFrame {
  readonly type: FrameType;
  readonly session: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** Records the events of a link, and resolves waits for them. */
export class RecordingOwner implements LinkOwner {
  /** DATA is joined as long as it belongs to the same session and stream. */
  readonly frames: RecordedFrame[] = [];
  readonly closes: (TunnelError | undefined)[] = [];
  dataBytes = 0;
  emptyPieces = 0;
  pulls = 0;
  readonly #waits = new Set<() => void>();

  onData(session: number, stream: number, bytes: Uint8Array): void {
    if (bytes.length === 0) this.emptyPieces++;
    this.dataBytes += bytes.length;
    const last = this.frames.at(-1);
    if (last?.type === FrameType.data && last.session === session && last.stream === stream) {
      const payload = Buffer.concat([last.payload, bytes]);
      this.frames[this.frames.length - 1] = { ...last, payload };
    } else {
      this.frames.push({ type: FrameType.data, session, stream, payload: Buffer.from(bytes) });
    }
    this.#changed();
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.frames.push({ type, session, stream, payload: Buffer.from(payload) });
    this.#changed();
  }

  pull(): void {
    this.pulls++;
  }

  onClose(error: TunnelError | undefined): void {
    this.closes.push(error);
    this.#changed();
  }

  /** Resolves as soon as `condition` holds, which is checked after every call of the link. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!condition()) return;
        this.#waits.delete(check);
        resolve();
      };
      this.#waits.add(check);
      check();
    });
  }

  closed(): Promise<void> {
    return this.until(() => this.closes.length > 0);
  }

  #changed(): void {
    for (const check of this.#waits) check();
  }
}

/** Checks a stream of pattern bytes without keeping it. */
export class CheckingOwner extends RecordingOwner {
  wrongAt = -1;

  override onData(session: number, stream: number, bytes: Uint8Array): void {
    if (this.wrongAt < 0 && Buffer.compare(bytes, patternAt(this.dataBytes, bytes.length)) !== 0) {
      this.wrongAt = this.dataBytes;
    }
    super.onData(session, stream, bytes);
    this.frames.length = 0;
  }
}

/**
 * Sends `totalBytes` of the pattern as DATA when pulled, by reference and copied in turn, in frames
 * of changing size.
 */
export class BulkOwner extends RecordingOwner {
  totalBytes = 0;
  sentBytes = 0;
  readonly #link: Link;
  readonly #pool: SlabPool;
  #frames = 0;
  #pulling = false;

  constructor(link: Link, pool: SlabPool) {
    super();
    this.#link = link;
    this.#pool = pool;
  }

  override pull(): void {
    if (this.#pulling) throw new Error('pull was called from inside pull');
    this.#pulling = true;
    super.pull();
    while (this.#link.room > 0 && this.sentBytes < this.totalBytes) this.#sendNext();
    this.#pulling = false;
  }

  #sendNext(): void {
    const wantedBytes = [maxDataBytes, 100, 16 * 1024, 40_000, 1][this.#frames % 5]!;
    const bytes = patternAt(
      this.sentBytes,
      Math.min(wantedBytes, this.totalBytes - this.sentBytes),
    );
    if (this.#frames++ % 3 === 0) this.#link.sendCopy(FrameType.data, 7, 9, bytes);
    else sendBlock(this.#link, this.#pool, FrameType.data, 7, 9, bytes);
    this.sentBytes += bytes.length;
  }
}

/** Sends a frame by reference and releases its slab. */
export function sendBlock(
  link: Link,
  pool: SlabPool,
  type: FrameType,
  session: number,
  stream: number,
  payload: Uint8Array,
): void {
  const slab = pool.take(payload.length);
  writeFrameHeader(slab.bytes, 0, type, session, stream);
  slab.bytes.set(payload, frameHeaderBytes);
  link.send({ slab, start: 0, end: frameHeaderBytes + payload.length });
  slab.release();
}

/** A few turns of the event loop: enough for all events that are pending in this process. */
export async function turns(count = 50): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}
