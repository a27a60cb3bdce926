/**
 * `culvert/tunnel`: streams with flow control and resumption over a link of your own.
 * docs/protocol.md describes the protocol.
 */
export { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';
export type { AttachableLink, Link, LinkOwner } from '../tunnel/link.ts';
export { memoryLinkPair } from '../tunnel/memory-link.ts';
export { Session } from '../tunnel/session.ts';
export type { SessionOptions } from '../tunnel/session-options.ts';
export type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
export type { Target } from '../tunnel/stream-request.ts';
