import { TunnelError } from './errors.ts';
import { FrameType, frameName } from './frame.ts';
import { decodeFailure } from './message.ts';
import { decodeOpened } from './open-message.ts';
import { readOffset } from './offset.ts';
import type { Stream } from './stream.ts';

/**
 * What a frame of the other end, DATA aside, does to the stream that it names.
 *
 * @throws TunnelError `protocol_error` where it is malformed, or may not come now
 */
export function applyFrame(
  stream: Stream,
  type: FrameType,
  payload: Uint8Array,
  maxWindowBytes: number,
): void {
  switch (type) {
    case FrameType.opened:
      return onOpened(stream, payload, maxWindowBytes);
    case FrameType.refused:
    case FrameType.reset: {
      const { code, message } = decodeFailure(type, payload);
      return stream.fail(new TunnelError(code, message));
    }
    case FrameType.credit:
      if (payload.length !== 16) throw new TunnelError('protocol_error', 'CREDIT is not 16 bytes');
      stream.credit(readOffset(payload, 0), readOffset(payload, 8), maxWindowBytes);
      return stream.wakeWriter();
    case FrameType.fin:
      return onFin(stream, payload);
    default:
      throw new TunnelError('protocol_error', `${frameName(type)} does not belong to a stream`);
  }
}

function onOpened(stream: Stream, payload: Uint8Array, maxWindowBytes: number): void {
  if (stream.openRequest === undefined) {
    throw new TunnelError('protocol_error', 'OPENED is for the dialer, this end is the agent');
  }
  if (stream.accepted) return;
  stream.opened(decodeOpened(payload), maxWindowBytes);
  stream.handler.onOpened?.();
}

function onFin(stream: Stream, payload: Uint8Array): void {
  if (payload.length !== 8) throw new TunnelError('protocol_error', 'FIN is not 8 bytes');
  if (!stream.accepted) throw new TunnelError('protocol_error', 'FIN before OPENED');
  const length = readOffset(payload, 0);
  if (length !== stream.receiving.received) {
    const sentence = `FIN at ${length} after ${stream.receiving.received} bytes`;
    throw new TunnelError('protocol_error', sentence);
  }
  if (stream.finReceived) return;
  stream.finReceived = true;
  stream.owesCredit();
  stream.handler.onFin();
}
