import type { StreamHandler } from './stream-handler.ts';

/** The handler of a stream that an acceptor refuses while it is made. */
export const refusedStream: StreamHandler = {
  onData() {},
  onFin() {},
  onWritable() {},
  onClose() {},
};
