import type { Clock } from '../../base/clock.ts';

/**
 * Runs `call` with a signal that aborts with the caller's signal and its reason, or with `late()`
 * after `timeoutMs`. No listener stays on the caller's signal, which can live as long as the
 * process.
 */
export async function withinDeadline<T>(
  clock: Clock,
  signal: AbortSignal,
  timeoutMs: number,
  late: () => Error,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const ended = new AbortController();
  const onAbort = () => ended.abort(signal.reason);
  const timer = clock.setTimer(timeoutMs, () => ended.abort(late()));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await call(ended.signal);
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Settles as `promise` does, or rejects with the signal's reason as soon as it aborts. Other
 * waiters for the promise are not affected.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
