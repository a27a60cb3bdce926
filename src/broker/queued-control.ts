import { TunnelError } from '../tunnel/errors.ts';
import { FrameType, frameHeaderBytes } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import { relayLimits } from './relay-options.ts';

/** A dialer's link, and how many control bytes wait for it. */
export interface ControlQueue {
  readonly link: Link;
  /** Bytes of control frames that were queued since the link last had room. */
  queuedControlBytes: number;
}

/**
 * Decides whether a control frame may wait for a dialer whose link is full. A dialer can make the
 * agent send any number of control frames without a window (an answer to each OPEN or PING), so
 * they have a limit of their own. Beyond the limit the dialer's link closes with `overloaded`.
 */
export function mayQueueControl(
  queue: ControlQueue,
  type: FrameType,
  payloadBytes: number,
): boolean {
  // A lost PING or PONG only delays a measurement.
  if (type === FrameType.ping || type === FrameType.pong) return false;
  queue.queuedControlBytes += frameHeaderBytes + payloadBytes;
  const { maxQueuedControlBytes } = relayLimits;
  if (queue.queuedControlBytes <= maxQueuedControlBytes) return true;
  const sentence = `more than ${maxQueuedControlBytes} bytes of control frames wait for ${queue.link.peer}`;
  queue.link.close(new TunnelError('overloaded', sentence));
  return false;
}
