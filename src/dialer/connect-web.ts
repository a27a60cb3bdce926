import { type WebStreamPair, WebStreams } from '../stream-io/web-streams.ts';
import type { Dialer, OpenOptions } from './dialer.ts';

/**
 * Opens a stream as a pair of web streams. An abort of `options.signal` cancels the dial; later it has no effect.
 *
 * @throws TunnelError the reason why there is no stream, see docs/errors.md
 */
export async function connectWeb(
  dialer: Pick<Dialer, 'open'>,
  options: OpenOptions,
): Promise<WebStreamPair> {
  const streams = new WebStreams();
  streams.bind(dialer.open(options, streams));
  await streams.opened;
  return streams;
}
