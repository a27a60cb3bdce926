import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { type TunnelLimits, defaultLimits } from '../../src/tunnel/limits.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { decodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { writeOffset } from '../../src/tunnel/offset.ts';
import { Session } from '../../src/tunnel/session.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { AcceptedStream, RecordingLogger, sampleTarget } from '../link/linked-sessions.ts';
import { RecordingStream, VerbGuard } from './recording-stream.ts';
import { VirtualClock } from '../clock/virtual-clock.ts';

/** A frame that the session sent. */
export interface ScriptedFrame {
  readonly type: FrameType;
  readonly stream: number;
  readonly payload: Uint8Array;
}

export function offsets(...numbers: number[]): Uint8Array {
  const bytes = new Uint8Array(8 * numbers.length);
  for (const [at, number] of numbers.entries()) writeOffset(bytes, 8 * at, number);
  return bytes;
}

/** One session whose other end is the test: it says what arrives and sees what is sent. */
export class ScriptedSession {
  readonly clock = new VirtualClock();
  readonly pool = new SlabPool();
  readonly log = new RecordingLogger();
  readonly session: Session;
  /** By number: opened by this end, or accepted. */
  readonly streams = new Map<number, RecordingStream>();
  readonly guard = new VerbGuard();
  /** The errors with which the test broke the session itself. */
  readonly broken: TunnelError[] = [];
  /** How often the test said that the session is elsewhere. */
  moved = 0;
  /** The link pulls at once when it is asked to, as one with room does; else only in `sent`. */
  pullsAtOnce = false;
  readonly #sent: ScriptedFrame[] = [];

  /** @param side which end this session is */
  constructor(
    side: 'dialer' | 'agent',
    limits: Partial<TunnelLimits> = {},
    onAccept: (stream: AcceptedStream) => void = (stream) => stream.accept(),
  ) {
    const common = {
      clock: this.clock,
      limits: { ...defaultLimits, ...limits },
      pool: this.pool,
      budget: new WindowBudget(512 * 1024 * 1024),
      log: this.log,
      onBroken: (error: TunnelError) => void this.broken.push(error),
      onMoved: () => void this.moved++,
    };
    if (side === 'dialer') {
      this.session = new Session(common);
    } else {
      this.session = new Session({
        ...common,
        accept: (request, stream) => {
          const accepted = new AcceptedStream(stream, this.guard, request);
          this.streams.set(stream.number, accepted);
          onAccept(accepted);
          return accepted;
        },
      });
    }
    this.session.attach(this.#link(), 1, (now) => {
      if (now && this.pullsAtOnce) while (this.session.pullFrame());
    });
  }

  /** The link is lost, and the session continues over another link. */
  relink(): void {
    this.session.detach();
    this.session.attach(this.#link(), 2, () => {}, true);
  }

  /** Opens a stream on the dialer's side and answers it. */
  dial(windowBytes = 256 * 1024): RecordingStream {
    const stream = this.dialUnanswered();
    this.receive(FrameType.opened, stream.stream.number, { window: windowBytes });
    return stream;
  }

  dialUnanswered(): RecordingStream {
    let recording: RecordingStream | undefined;
    this.session.open({ target: sampleTarget, timeoutMs: 0 }, (stream) => {
      recording = new RecordingStream(stream, 'dialer', this.guard);
      this.streams.set(stream.number, recording);
      return recording;
    });
    this.sent();
    return recording!;
  }

  /** OPEN arrives; the agent's side. */
  receiveOpen(stream: number, windowBytes = 256 * 1024): RecordingStream {
    const open = encodeOpen({ target: sampleTarget, window: windowBytes, timeoutMs: 0 });
    this.receive(FrameType.open, stream, open);
    return this.streams.get(stream)!;
  }

  /** A frame arrives; fields are packed. */
  receive(type: FrameType, stream: number, payload: Uint8Array | object): void {
    const bytes = payload instanceof Uint8Array ? payload : encodeMessage(payload);
    if (type === FrameType.data) this.session.onData(stream, bytes);
    else this.session.onFrame(type, stream, bytes);
  }

  receiveData(stream: number, bytes: number): void {
    this.session.onData(stream, new Uint8Array(bytes));
  }

  /** The frames that were sent since the last call, over a link with unlimited room. */
  sent(): ScriptedFrame[] {
    while (this.session.pullFrame());
    return this.#sent.splice(0);
  }

  /** The streams that were reset or refused since the last call of `sent`, with their codes. */
  sentEndings(): [stream: number, code: string][] {
    const endings = this.sent().filter(
      ({ type }) => type === FrameType.reset || type === FrameType.refused,
    );
    return endings.map(({ type, stream, payload }) => [stream, decodeFailure(type, payload).code]);
  }

  #link(): Link {
    return {
      peer: 'script',
      room: Number.POSITIVE_INFINITY,
      send: ({ slab, start, end }) => {
        const type = slab.bytes[start] as FrameType;
        this.#sent.push({
          type,
          stream: slab.bytes[start + 11]!,
          payload: slab.bytes.slice(start + 12, end),
        });
      },
      sendCopy: (type, _, stream, payload) => {
        this.#sent.push({ type, stream, payload: payload.slice() });
      },
      wake() {},
      pause() {},
      resume() {},
      close() {},
    };
  }
}
