import type { LogFields, Logger } from '../../src/base/logger.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { type TunnelLimits, defaultLimits } from '../../src/tunnel/limits.ts';
import { Session } from '../../src/tunnel/session.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import type { Target } from '../../src/tunnel/stream-handler.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { RecordingStream, VerbGuard } from './recording-stream.ts';
import {
  type SimulatedLink,
  type SimulatedLinkOptions,
  simulatedLinkPair,
} from './simulated-link.ts';
import { VirtualClock } from './virtual-clock.ts';

export const sampleTarget: Target = { kind: 'tcp', host: 'kube', port: 6443 };

export interface LinkedSessionsOptions extends SimulatedLinkOptions {
  readonly limits?: Partial<TunnelLimits>;
  /** What the process of each end grants to all its sessions (default 512 MiB). */
  readonly processBudgetBytes?: number;
  /** What the agent does with a new stream (default: accepts it at once). */
  readonly onAccept?: (stream: AcceptedStream) => void;
}

/** A stream at the agent's end, with what OPEN said. */
export class AcceptedStream extends RecordingStream {
  readonly target: Target;
  readonly timeoutMs: number;
  readonly #stream: Stream;

  constructor(stream: Stream, guard: VerbGuard, target: Target, timeoutMs: number) {
    super(stream, 'agent', guard);
    this.#stream = stream;
    this.target = target;
    this.timeoutMs = timeoutMs;
  }

  accept(): void {
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

/** A session with everything that is its own, so that leaks show. */
export class SessionEnd {
  readonly session: Session;
  readonly link: SimulatedLink;
  readonly pool = new SlabPool();
  readonly budget: WindowBudget;
  readonly log = new RecordingLogger();
  readonly guard = new VerbGuard();

  constructor(
    link: SimulatedLink,
    clock: VirtualClock,
    options: LinkedSessionsOptions,
    accept?: (target: Target, timeoutMs: number, stream: Stream) => RecordingStream,
  ) {
    this.link = link;
    this.budget = new WindowBudget(options.processBudgetBytes ?? 512 * 1024 * 1024);
    const { pool, budget, log } = this;
    const limits = { ...defaultLimits, ...options.limits };
    const common = { clock, limits, pool, budget, log };
    this.session = new Session(accept === undefined ? common : { ...common, accept });
    const { session } = this;
    link.attach({
      onData: (_, stream, bytes) => session.onData(stream, bytes),
      onFrame: (type, _, stream, payload) => session.onFrame(type, stream, payload),
      pull() {
        while (link.room > 0 && session.pullFrame());
      },
      onClose: (error) => session.close(error ?? new TunnelError('link_lost', 'link closed')),
    });
    session.attach(link, sessionNumber, (now) => link.wake(now));
  }
}

const sessionNumber = 0x5e55_1014;

/** A dialer's and an agent's session, joined by a simulated link; nothing moves but in the time of `clock`. */
export class LinkedSessions {
  readonly clock = new VirtualClock();
  readonly dialer: SessionEnd;
  readonly agent: SessionEnd;
  /** Streams that the agent was asked for, by number. */
  readonly accepted = new Map<number, AcceptedStream>();

  constructor(options: LinkedSessionsOptions = {}) {
    const [dialerLink, agentLink] = simulatedLinkPair(this.clock, options);
    this.dialer = new SessionEnd(dialerLink, this.clock, options);
    const onAccept = options.onAccept ?? ((stream) => stream.accept());
    this.agent = new SessionEnd(agentLink, this.clock, options, (target, timeoutMs, stream) => {
      const accepted = new AcceptedStream(stream, this.agent.guard, target, timeoutMs);
      this.accepted.set(stream.number, accepted);
      onAccept(accepted);
      return accepted;
    });
  }

  get ends(): readonly [SessionEnd, SessionEnd] {
    return [this.dialer, this.agent];
  }

  open(target = sampleTarget, timeoutMs = 0): RecordingStream {
    let recording: RecordingStream | undefined;
    this.dialer.session.open(target, timeoutMs, (stream) => {
      recording = new RecordingStream(stream, 'dialer', this.dialer.guard);
      return recording;
    });
    return recording!;
  }

  /** Opens a stream and lets time pass until both ends are quiet. */
  async opened(): Promise<[RecordingStream, AcceptedStream]> {
    const dialed = this.open();
    await this.clock.runUntilIdle();
    return [dialed, this.accepted.get(dialed.stream.number)!];
  }
}

export function linkedSessions(options?: LinkedSessionsOptions): LinkedSessions {
  return new LinkedSessions(options);
}
