/**
 * A value that is there in most cases. A promise for each of them would cost memory and turns of the
 * microtask queue.
 */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Calls `proceed` with a value: at once if it is there, else when it comes. So an error is thrown, or
 * it rejects the promise.
 */
export function whenKnown<T, R>(
  value: MaybePromise<T>,
  proceed: (value: T) => MaybePromise<R>,
): MaybePromise<R> {
  return value instanceof Promise ? value.then(proceed) : proceed(value);
}

/** Calls `onError` with an error that `ask` throws, or with which its promise is rejected. */
export function catchError<T>(
  ask: () => MaybePromise<T>,
  onError: (thrown: unknown) => T,
): MaybePromise<T> {
  try {
    const answer = ask();
    return answer instanceof Promise ? answer.catch(onError) : answer;
  } catch (thrown) {
    return onError(thrown);
  }
}
