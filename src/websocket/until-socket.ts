import type { Socket } from 'node:net';

/**
 * Waits for something on a socket. Rejects with the socket's error, when it closes, or with the signal's reason.
 *
 * @param listen sets up what resolves the wait, and returns what takes it down
 */
export function untilSocket<T>(
  socket: Socket,
  signal: AbortSignal,
  listen: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void,
): Promise<T> {
  signal.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const settle = (finish: () => void) => {
      stop();
      socket.off('error', onError);
      socket.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const onError = (error: Error) => settle(() => reject(error));
    const onClose = () => onError(new Error('the connection was closed'));
    const onAbort = () => onError(signal.reason as Error);
    socket.on('error', onError);
    socket.on('close', onClose);
    signal.addEventListener('abort', onAbort);
    let stop = () => {};
    let settled = false;
    const once = (finish: () => void) => {
      settled = true;
      settle(finish);
    };
    stop = listen(
      (value) => once(() => resolve(value)),
      (error) => once(() => reject(error)),
    );
    if (settled) stop();
  });
}
