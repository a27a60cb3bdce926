import type { Logger } from '../../src/base/log/logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { type TunnelLimits, defaultLimits } from '../../src/tunnel/limits.ts';
import type { AttachableLink } from '../../src/tunnel/link.ts';
import { Session } from '../../src/tunnel/session.ts';
import { type Slab, SlabPool, maxDataBytes } from '../../src/tunnel/slab.ts';
import type { StreamHandler } from '../../src/tunnel/stream-handler.ts';
import type { StreamRequest, Target } from '../../src/tunnel/stream-request.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { RecordingStream, VerbGuard } from '../stream/recording-stream.ts';
import {
  type SimulatedLink,
  type SimulatedLinkOptions,
  simulatedLinkPair,
} from './simulated-link.ts';
import { VirtualClock } from '../clock/virtual-clock.ts';
import { frameHeaderBytes } from '../../src/tunnel/frame.ts';

export const sampleTarget: Target = { kind: 'tcp', host: 'kube', port: 6443 };

export interface LinkedSessionsOptions extends SimulatedLinkOptions {
  readonly limits?: Partial<TunnelLimits>;
  /** The memory that the process of each end grants to all its sessions (default 512 MiB). */
  readonly processBudgetBytes?: number;
  /**
   * Sessions outlive their link: `relink` brings them together again (default: they end with it).
   */
  readonly resumes?: boolean;
  /** What the agent does with a new stream (default: accepts it at once). */
  readonly onAccept?: (stream: AcceptedStream) => void;
}

/** A stream at the agent's end, with what OPEN said. */
export class AcceptedStream extends RecordingStream {
  readonly request: StreamRequest;
  readonly #stream: Stream;

  constructor(stream: Stream, guard: VerbGuard, request: StreamRequest) {
    super(stream, 'agent', guard);
    this.#stream = stream;
    this.request = request;
  }

  /** @param isPatient see `mayWait` of `SendScheduler` */
  accept(isPatient = false): void {
    this.#stream.isPatient = isPatient;
    this.#stream.accept();
  }
}

/** Keeps `event` and fields of every line. */
export class RecordingLogger implements Logger {
  readonly lines: { readonly event: string; readonly fields: LogFields | undefined }[] = [];

  error(event: string, fields?: LogFields): void {
    this.lines.push({ event, fields });
  }

  warn = this.error.bind(this);
  info = this.error.bind(this);
  debug = this.error.bind(this);

  child(): Logger {
    return this;
  }
}

/** A pool that remembers the most that was held at once. */
export class PeakPool extends SlabPool {
  peakBytes = 0;

  override take(payloadBytes: number): Slab {
    const slab = super.take(payloadBytes);
    this.peakBytes = Math.max(this.peakBytes, this.inUseBytes);
    return slab;
  }
}

/**
 * docs/protocol.md, "Memory": slabs that the sender of one stream holds at most, for `keptBytes`
 * that wait or are not acknowledged and lie in `frames`.
 */
export function slabBoundBytes(keptBytes: number, frames: number): number {
  return 1.35 * (keptBytes + frameHeaderBytes * frames) + 8 * (maxDataBytes + frameHeaderBytes);
}

/** The bytes that may wait in a stream before its writer has to stop. */
export const unsentHighBytes = 256 * 1024;

/** A session with everything that is its own, so that leaks show. */
export class SessionEnd<L extends AttachableLink = SimulatedLink> {
  readonly session: Session;
  /** The present one, or the last. */
  link: L;
  readonly pool = new PeakPool();
  readonly budget: WindowBudget;
  readonly log = new RecordingLogger();
  readonly guard = new VerbGuard();
  /** The other end's actions on the session itself. */
  readonly broken: TunnelError[] = [];
  readonly #resumes: boolean;

  constructor(
    link: L,
    clock: VirtualClock,
    options: LinkedSessionsOptions,
    accept?: (request: StreamRequest, stream: Stream) => StreamHandler,
  ) {
    this.link = link;
    this.#resumes = options.resumes === true;
    this.budget = new WindowBudget(options.processBudgetBytes ?? 512 * 1024 * 1024);
    const { pool, budget, log } = this;
    const limits = { ...defaultLimits, ...options.limits };
    const onBroken = (error: TunnelError): void => {
      this.broken.push(error);
      this.session.close(error);
    };
    const common = { clock, limits, pool, budget, log, onBroken };
    this.session = new Session(accept === undefined ? common : { ...common, accept });
    this.attach(link, firstNumber, false);
  }

  /**
   * Puts the session on a link; what the one before still brings is dropped, as a demultiplexer
   * does.
   */
  attach(link: L, number: number, resume: boolean): void {
    const { session } = this;
    const carries = (): boolean => this.link === link;
    this.link = link;
    link.attach({
      onData: (session, stream, bytes) => {
        if (carries() && session === number) this.session.onData(stream, bytes);
      },
      onFrame: (type, session, stream, payload) => {
        if (carries() && session === number) this.session.onFrame(type, stream, payload);
      },
      pull() {
        while (carries() && link.room > 0 && session.pullFrame());
      },
      onClose: (error) => {
        if (!carries()) return;
        if (this.#resumes) session.detach();
        else session.close(error ?? new TunnelError('link_lost', 'link closed'));
      },
    });
    session.attach(link, number, (now) => link.wake(now), resume);
  }
}

const firstNumber = 0x5e55_1014;

/**
 * A dialer's and an agent's session, joined by a link; nothing moves but in the time of `clock`.
 */
export class LinkedSessions<L extends AttachableLink = SimulatedLink> {
  readonly clock = new VirtualClock();
  readonly dialer: SessionEnd<L>;
  readonly agent: SessionEnd<L>;
  /** Streams that the agent was asked for, by number. */
  readonly accepted = new Map<number, AcceptedStream>();

  readonly #joined: (clock: VirtualClock) => [L, L];
  #number = firstNumber;

  /** @param joined makes the two ends of a link: the dialer's and the agent's */
  constructor(options: LinkedSessionsOptions, joined: (clock: VirtualClock) => [L, L]) {
    this.#joined = joined;
    const [dialerLink, agentLink] = joined(this.clock);
    this.dialer = new SessionEnd(dialerLink, this.clock, options);
    const onAccept = options.onAccept ?? ((stream) => stream.accept());
    this.agent = new SessionEnd(agentLink, this.clock, options, (request, stream) => {
      const accepted = new AcceptedStream(stream, this.agent.guard, request);
      this.accepted.set(stream.number, accepted);
      onAccept(accepted);
      return accepted;
    });
  }

  get ends(): readonly [SessionEnd<L>, SessionEnd<L>] {
    return [this.dialer, this.agent];
  }

  open(
    target = sampleTarget,
    timeoutMs = 0,
    origin: Pick<StreamRequest, 'caller' | 'trace' | 'share' | 'isPatient'> = {},
  ): RecordingStream {
    let recording: RecordingStream | undefined;
    this.dialer.session.open({ target, timeoutMs, ...origin }, (stream) => {
      recording = new RecordingStream(stream, 'dialer', this.dialer.guard);
      return recording;
    });
    return recording!;
  }

  /**
   * Both sessions continue over a fresh link, under a new number. The old link may still exist.
   *
   * @param lateMs how much later than the agent the dialer hears that the link is ready
   */
  relink(lateMs = 0): void {
    const [dialerLink, agentLink] = this.#joined(this.clock);
    const number = ++this.#number;
    this.agent.attach(agentLink, number, true);
    if (lateMs === 0) this.dialer.attach(dialerLink, number, true);
    else this.clock.setTimer(lateMs, () => this.dialer.attach(dialerLink, number, true));
  }

  /** Opens a stream and lets time pass until both ends are quiet. */
  async opened(): Promise<[RecordingStream, AcceptedStream]> {
    const dialed = this.open();
    await this.clock.runUntilIdle();
    return [dialed, this.accepted.get(dialed.stream.number)!];
  }
}

/** Two sessions over a simulated link. */
export function linkedSessions(options: LinkedSessionsOptions = {}): LinkedSessions {
  return new LinkedSessions(options, (clock) => simulatedLinkPair(clock, options));
}
