import { TunnelError } from './errors.ts';
import { FrameType } from './frame.ts';
import type { Link } from './link.ts';

const pingBytes = 8;

/** @throws TunnelError `protocol_error` the payload of a PING is not 8 bytes */
export function checkPing(payload: Uint8Array): void {
  if (payload.length === pingBytes) return;
  const sentence = `PING has a payload of ${payload.length} bytes, it must be ${pingBytes}`;
  throw new TunnelError('protocol_error', sentence);
}

/**
 * Answers a PING between the two ends of a link. While the link is full the PING is dropped:
 * otherwise a peer that sends PINGs and does not read would fill the memory with answers.
 *
 * @throws TunnelError `protocol_error` the payload is not 8 bytes
 */
export function answerPing(link: Link, payload: Uint8Array): void {
  checkPing(payload);
  if (link.room > 0) link.sendCopy(FrameType.pong, 0, 0, payload);
}
