import type { Logger } from '../base/log/logger.ts';
import type { CommandIo } from './command.ts';

/** A program that can be drained. Brokers, agents and bridges have it in common. */
export interface Drainable {
  /**
   * Makes the program unavailable to new streams and waits for open streams to end. When `signal`
   * aborts, it resets the streams that remain.
   */
  drain(signal: AbortSignal): Promise<void>;
}

export interface StopOptions {
  readonly drainTimeoutMs: number;
  readonly signals: CommandIo['signals'];
  readonly log: Logger;
}

/**
 * Starts a program. The parts in `parts` are disposed of at the end in reverse order, also when the
 * start fails.
 */
export type Start = (parts: AsyncDisposableStack) => Promise<Drainable>;

/**
 * How long a program may take to close after its drain time, in milliseconds. A program that takes
 * longer counts as stuck.
 */
const stuckAfterMs = 5_000;

/**
 * Starts a program, waits for SIGTERM or SIGINT, drains it within the limit and closes it. A signal
 * that arrives during the start takes effect when the program has started.
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

  // This timer keeps the process alive. Sockets are not always open, and timers of the protocol do
  // not keep a process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  // The listeners are added before the program starts, because a signal may arrive as soon as the
  // program listens.
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

/**
 * Drains programs of one process at the same time, because a program may wait for streams that
 * another program ends.
 */
export function together(...programs: readonly Drainable[]): Drainable {
  return {
    async drain(signal) {
      await Promise.all(programs.map((program) => program.drain(signal)));
    },
  };
}

/** Drains a program when the program that uses it has ended. */
export function oneAfterAnother(...programs: readonly Drainable[]): Drainable {
  return {
    async drain(signal) {
      for (const program of programs) await program.drain(signal);
    },
  };
}
