import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from './errors.ts';
import { FrameType, frameName } from './frame.ts';
import { decodeFailure } from './message.ts';
import { readOffset } from './offset.ts';
import { decodeOpened } from './open-message.ts';
import type { Stream } from './stream.ts';

/**
 * Applies a frame of the other end, other than DATA, to the stream that it names.
 *
 * @throws TunnelError `protocol_error` for a frame that is malformed, or not allowed now
 */
export function applyFrame(
  stream: Stream,
  type: FrameType,
  payload: Uint8Array,
  maxKeptBytes: number,
): void {
  switch (type) {
    case FrameType.opened:
      return onOpened(stream, payload, maxKeptBytes);
    case FrameType.refused:
    case FrameType.reset: {
      const { code, message } = decodeFailure(type, payload);
      return stream.fail(new TunnelError(code, message));
    }
    case FrameType.credit:
      if (payload.length !== 16) throw new TunnelError('protocol_error', 'CREDIT is not 16 bytes');
      stream.creditArrived(readOffset(payload, 0), readOffset(payload, 8), maxKeptBytes);
      return stream.wakeWriter();
    case FrameType.fin:
      return onFin(stream, payload);
    default:
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong to a stream`);
  }
}

/** The other end broke the rules of one stream. Its session continues. */
export function resetForBreach(
  stream: Stream,
  { code, message }: Pick<TunnelError, 'code' | 'message'>,
  log: Logger,
): void {
  const error = new TunnelError(code, `stream ${stream.number} ${message}`);
  log.warn('stream reset for a breach', { stream: stream.number, code, error: error.message });
  stream.reset(error);
}

function onOpened(stream: Stream, payload: Uint8Array, maxKeptBytes: number): void {
  if (stream.role === 'acceptor') {
    throw new TunnelError('protocol_error', 'OPENED is for the dialer, this end is the agent');
  }
  if (!stream.isAccepted) stream.openedArrived(decodeOpened(payload), maxKeptBytes);
}

function onFin(stream: Stream, payload: Uint8Array): void {
  if (payload.length !== 8) throw new TunnelError('protocol_error', 'FIN is not 8 bytes');
  if (!stream.isAccepted) throw new TunnelError('protocol_error', 'FIN before OPENED');
  const length = readOffset(payload, 0);
  if (length !== stream.receiving.received) {
    const sentence = `FIN at ${length} after ${stream.receiving.received} bytes`;
    throw new TunnelError('protocol_error', sentence);
  }
  stream.finArrived();
}
