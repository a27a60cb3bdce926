import type { Duplex } from 'node:stream';
import { StreamDuplex } from '../../stream-io/node/stream-duplex.ts';
import type { Dialer, OpenOptions } from '../dialer.ts';

/**
 * Opens a stream as a Duplex of Node. An abort of `options.signal` cancels the dial; later it has no effect.
 *
 * @throws TunnelError the reason why there is no stream, see docs/errors.md
 */
export async function connect(dialer: Pick<Dialer, 'open'>, options: OpenOptions): Promise<Duplex> {
  const duplex = new StreamDuplex();
  // The caller learns of a failed dial from the promise.
  const ignoreError = (): void => {};
  duplex.on('error', ignoreError);
  duplex.bind(dialer.open(options, duplex));
  await duplex.opened;
  duplex.off('error', ignoreError);
  return duplex;
}
