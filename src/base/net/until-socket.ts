import type { Socket } from 'node:net';

const closed = 'the connection was closed';

/**
 * Waits for a result on a socket. Rejects with the socket's error, when the socket closes, or with
 * the signal's reason.
 *
 * @param listen adds the listeners that resolve the wait, and returns a function that removes them
 */
export function untilSocket<T>(
  socket: Socket,
  signal: AbortSignal,
  listen: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void,
): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  if (socket.destroyed) return Promise.reject(new Error(closed));
  return new Promise<T>((resolve, reject) => {
    let stop: (() => void) | undefined;
    const settle = () => {
      stop?.();
      socket.off('error', fail);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
    };
    const succeed = (value: T) => {
      resolve(value);
      settle();
    };
    const fail = (error: Error) => {
      reject(error);
      settle();
    };
    const onClose = () => fail(new Error(closed));
    const onAbort = () => fail(signal.reason as Error);
    socket.on('error', fail);
    socket.on('close', onClose);
    signal.addEventListener('abort', onAbort);
    stop = listen(succeed, fail);
  });
}
