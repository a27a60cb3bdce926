import type { Clock } from '../../base/clock.ts';

/** How long the hub's API server may take to answer a GET, in milliseconds. */
const readTimeoutMs = 10_000;

/**
 * Asks with a signal that aborts when there is no answer in time. No timer remains after the answer,
 * because a timer keeps a Durable Object awake.
 */
export async function askInTime<T>(
  clock: Clock,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  const timer = clock.setTimer(readTimeoutMs, () =>
    timeout.abort(new Error('there is no answer in time')),
  );
  try {
    return await ask(timeout.signal);
  } finally {
    timer.cancel();
  }
}
