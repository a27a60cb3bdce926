import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitOptions {
  /** The awaited event, for the error. */
  readonly what: string;
  readonly timeoutMs: number;
  /** Default 100. */
  readonly pollMs?: number;
  readonly signal?: AbortSignal;
}

/** Retries until `attempt` returns a value other than false and undefined, and does not throw. */
export async function waitFor<T>(
  attempt: () => Promise<T | false | undefined>,
  { what, timeoutMs, pollMs = 100, signal }: WaitOptions,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < deadline) {
    signal?.throwIfAborted();
    try {
      const result = await attempt();
      if (result !== false && result !== undefined) return result;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(pollMs, undefined, { ...(signal === undefined ? {} : { signal }) });
  }
  throw new Error(`no ${what} within ${timeoutMs / 1000} s`, { cause: last });
}
