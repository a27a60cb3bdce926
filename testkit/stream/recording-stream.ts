import { TunnelError, type TunnelErrorCode } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { patternAt } from './pattern.ts';

/**
 * Notes callbacks that come from inside a verb, which the seam forbids; one for all streams of a
 * session.
 */
export class VerbGuard {
  readonly breaches: string[] = [];
  #verb: string | undefined;

  run<T>(verb: string, call: () => T): T {
    const outer = this.#verb;
    this.#verb = verb;
    try {
      return call();
    } finally {
      this.#verb = outer;
    }
  }

  /** @param callback what is being called */
  called(callback: string): void {
    if (this.#verb !== undefined) this.breaches.push(`${callback} from inside ${this.#verb}`);
  }
}

/** The bytes that one side of a stream sends by itself, as fast as it may. */
export interface SendPlan {
  readonly bytes: number;
  /** Bytes per write (default 16 KiB). */
  readonly pieceBytes?: number;
  /** What follows the last byte (default fin). */
  readonly end?: 'fin' | 'reset' | 'nothing';
}

/**
 * A user of a stream that keeps a record. Each direction of each stream carries its own part of the
 * pattern, so what arrives is compared as it comes: `firstWrongByte` is the offset of the first
 * byte that is not what the other side wrote.
 */
export class RecordingStream implements StreamHandler {
  readonly stream: TunnelStream;
  /** `opened`, `fin`, `writable`, `stopped`, `closed` or `closed: <code>`, in order; not data. */
  readonly events: string[] = [];
  /** The errors of onClose; one entry, undefined where the stream ended in order. */
  readonly closes: (TunnelError | undefined)[] = [];
  receivedBytes = 0;
  writtenBytes = 0;
  unreadBytes = 0;
  /** The most that was unread at once. */
  peakUnreadBytes = 0;
  firstWrongByte: number | undefined;
  readonly #guard: VerbGuard;
  readonly #sendsFrom: number;
  readonly #receivesFrom: number;
  #eager = true;
  #wantsNoMore = false;
  #plan: SendPlan | undefined;
  #planEnd = 0;

  constructor(stream: TunnelStream, side: 'dialer' | 'agent', guard: VerbGuard) {
    this.stream = stream;
    this.#guard = guard;
    const [there, back] = [stream.number * 2003, stream.number * 2003 + 1009];
    this.#sendsFrom = side === 'dialer' ? there : back;
    this.#receivesFrom = side === 'dialer' ? back : there;
  }

  /** The code that the stream ended with: none yet is undefined, an orderly end `ok`. */
  get ending(): TunnelErrorCode | 'ok' | undefined {
    return this.closes.length === 0 ? undefined : (this.closes[0]?.code ?? 'ok');
  }

  // Actions of the user.

  write(bytes: number): boolean {
    let more = true;
    for (const end = this.writtenBytes + bytes; this.writtenBytes < end;) {
      const piece = patternAt(this.#sendsFrom + this.writtenBytes, end - this.writtenBytes);
      this.writtenBytes += piece.length;
      more = this.#guard.run('write', () => this.stream.write(piece));
    }
    return more;
  }

  fin(): void {
    this.#guard.run('fin', () => this.stream.fin());
  }

  reset(code: TunnelErrorCode = 'reset', message = 'the user gave up'): void {
    this.#guard.run('reset', () => this.stream.reset(new TunnelError(code, message)));
  }

  /** Takes at most `bytes` of what is unread. */
  take(bytes: number): void {
    const taken = Math.min(bytes, this.unreadBytes);
    this.unreadBytes -= taken;
    this.#guard.run('consumed', () => this.stream.consumed(taken));
  }

  /** From now on nothing is taken but by `take`. */
  stopReading(): void {
    this.#eager = false;
  }

  /** Takes what is there and from now on everything at once. */
  readOn(): void {
    this.#eager = true;
    this.take(this.unreadBytes);
  }

  send(plan: SendPlan): void {
    this.#plan = plan;
    this.#planEnd = this.writtenBytes + plan.bytes;
    this.#goOn();
  }

  stopReceiving(): void {
    this.#wantsNoMore = true;
    this.#guard.run('stopReceiving', () => this.stream.stopReceiving());
  }

  /** It has called `stopReceiving`. */
  get wantsNoMore(): boolean {
    return this.#wantsNoMore;
  }

  // Callbacks to the user.

  onOpened(): void {
    this.#note('opened');
  }

  onData(bytes: Uint8Array): void {
    this.#guard.called('onData');
    const expected = patternAt(this.#receivesFrom + this.receivedBytes, bytes.length);
    if (this.firstWrongByte === undefined && !expected.equals(bytes)) {
      const wrong = bytes.findIndex((byte, at) => byte !== expected[at]);
      this.firstWrongByte = this.receivedBytes + wrong;
    }
    if (bytes.length === 0) this.events.push('empty piece');
    if (this.#wantsNoMore) this.events.push('data after stopReceiving');
    this.receivedBytes += bytes.length;
    this.unreadBytes += bytes.length;
    this.peakUnreadBytes = Math.max(this.peakUnreadBytes, this.unreadBytes);
    if (this.#eager) this.take(this.unreadBytes);
  }

  onFin(): void {
    this.#note('fin');
  }

  onWritable(): void {
    this.#note('writable');
    this.#goOn();
  }

  onStop(): void {
    this.#note('stopped');
    this.#planEnd = this.writtenBytes;
    this.#goOn();
  }

  onClose(error: TunnelError | undefined): void {
    this.closes.push(error);
    this.#note(error === undefined ? 'closed' : `closed: ${error.code}`);
  }

  #note(event: string): void {
    this.#guard.called(event);
    if (this.closes.length > 0 && !event.startsWith('closed')) this.events.push('after the end');
    this.events.push(event);
  }

  #goOn(): void {
    const plan = this.#plan;
    if (plan === undefined) return;
    while (this.writtenBytes < this.#planEnd) {
      const left = this.#planEnd - this.writtenBytes;
      if (!this.write(Math.min(plan.pieceBytes ?? 16 * 1024, left))) break;
    }
    if (this.writtenBytes < this.#planEnd || this.closes.length > 0) return;
    this.#plan = undefined;
    if (plan.end === 'reset') this.reset();
    else if (plan.end !== 'nothing') this.fin();
  }
}
