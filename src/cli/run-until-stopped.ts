import type { Logger } from '../base/log/logger.ts';
import type { CommandIo } from './command.ts';

/** What the mains of broker, agent and bridge have in common, besides being disposable. */
export interface Drainable {
  /** Stops being found and lets streams end, until `signal` aborts; then they are reset. */
  drain(signal: AbortSignal): Promise<void>;
}

export interface StopOptions {
  readonly drainTimeoutMs: number;
  readonly signals: CommandIo['signals'];
  readonly log: Logger;
}

/** Starts a program. What it gives to `parts` is disposed of at the end, last started first, also when starting fails. */
export type Start = (parts: AsyncDisposableStack) => Promise<Drainable>;

/** How long a program may take after its drain was cut short, in milliseconds; then it is stuck. */
const stuckAfterMs = 5_000;

/**
 * Starts a program, waits for SIGTERM or SIGINT, drains within the limit and closes. A signal that comes while it is still
 * starting is obeyed when it has started.
 *
 * @returns the exit code: 0 when it ended in order, 1 after a second signal or a failure to stop
 * @throws what `start` throws
 */
export async function runUntilStopped(start: Start, options: StopOptions): Promise<number> {
  const { signals, log, drainTimeoutMs } = options;
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<number>();
  let stopping = false;
  const onSignal = (name: unknown): void => {
    if (stopping) {
      log.warn('second signal, leaving at once', { signal: name });
      second.resolve(1);
    } else {
      stopping = true;
      log.info('draining', { signal: name, drainTimeoutMs });
      first.resolve();
    }
  };
  const run = async (): Promise<number> => {
    await using starting = new AsyncDisposableStack();
    const program = await start(starting);
    const parts = starting.move();
    await first.promise;
    return await stop(program, parts, options);
  };

  // Sockets may come and go and timers of the protocol do not count: this alone keeps the process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  // Before anything starts: who sees that the program listens may send a signal at once.
  signals.on('SIGTERM', onSignal);
  signals.on('SIGINT', onSignal);
  try {
    return await Promise.race([run(), second.promise]);
  } finally {
    clearInterval(alive);
    signals.off('SIGTERM', onSignal);
    signals.off('SIGINT', onSignal);
  }
}

async function stop(
  program: Drainable,
  parts: AsyncDisposableStack,
  { drainTimeoutMs, log }: StopOptions,
): Promise<number> {
  const limit = new AbortController();
  const stuck = Promise.withResolvers<never>();
  const timers = [
    setTimeout(() => limit.abort(new Error(`not drained in ${drainTimeoutMs} ms`)), drainTimeoutMs),
    setTimeout(
      () => stuck.reject(new Error(`still busy ${stuckAfterMs} ms after the drain timeout`)),
      drainTimeoutMs + stuckAfterMs,
    ),
  ];
  const drainAndClose = async (): Promise<void> => {
    await program.drain(limit.signal);
    await parts.disposeAsync();
  };
  try {
    await Promise.race([drainAndClose(), stuck.promise]);
    log.info('stopped');
    return 0;
  } catch (thrown) {
    log.error('stopping failed', { error: thrown });
    return 1;
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Programs in one process drain at the same time: each may wait for what another one ends. */
export function together(...programs: readonly Drainable[]): Drainable {
  return {
    async drain(signal) {
      await Promise.all(programs.map((program) => program.drain(signal)));
    },
  };
}
