import type { Logger } from '../base/logger.ts';
import type { CommandIo } from './command.ts';

/** What the mains of broker, agent and bridge have in common. */
export interface RunningProgram {
  /** Stops being found and lets streams end, until `signal` aborts; then they are reset. */
  drain(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface StopOptions {
  readonly drainTimeoutMs: number;
  readonly signals: CommandIo['signals'];
  readonly log: Logger;
}

/** How long a program may take after its drain was cut short, in milliseconds; then it is stuck. */
const stuckAfterMs = 5_000;

/**
 * Waits for SIGTERM or SIGINT, drains within the limit and closes.
 *
 * @returns the exit code: 0 when it ended in order, 1 after a second signal or a failure
 */
export async function runUntilStopped(
  program: RunningProgram,
  { drainTimeoutMs, signals, log }: StopOptions,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  // Sockets may come and go and timers of the protocol do not count: this alone keeps the process alive.
  const alive = setInterval(() => {}, 2 ** 30);
  let stopping = false;
  const onSignal = (name: unknown): void => {
    if (stopping) {
      log.warn('second signal, leaving at once', { signal: name });
      resolve(1);
      return;
    }
    stopping = true;
    log.info('draining', { signal: name, drainTimeoutMs });
    // Not resolve(stop(...)): that would settle it, and a second signal could not overtake.
    stop(program, drainTimeoutMs, log).then(resolve, reject);
  };
  signals.on('SIGTERM', onSignal);
  signals.on('SIGINT', onSignal);
  try {
    return await promise;
  } finally {
    clearInterval(alive);
    signals.off('SIGTERM', onSignal);
    signals.off('SIGINT', onSignal);
  }
}

async function stop(program: RunningProgram, drainTimeoutMs: number, log: Logger): Promise<number> {
  const limit = new AbortController();
  const stuck = Promise.withResolvers<never>();
  const timers = [
    setTimeout(() => limit.abort(new Error(`not drained in ${drainTimeoutMs} ms`)), drainTimeoutMs),
    setTimeout(
      () => stuck.reject(new Error(`still busy ${stuckAfterMs} ms after the drain timeout`)),
      drainTimeoutMs + stuckAfterMs,
    ),
  ];
  try {
    await Promise.race([program.drain(limit.signal).then(() => program.close()), stuck.promise]);
    log.info('stopped');
    return 0;
  } catch (thrown) {
    log.error('stopping failed', { error: thrown });
    return 1;
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Programs in one process: they drain together, and close in this order. */
export function together(...programs: readonly RunningProgram[]): RunningProgram {
  return {
    async drain(signal) {
      await Promise.all(programs.map((program) => program.drain(signal)));
    },
    async close() {
      for (const program of programs) await program.close();
    },
  };
}
