/**
 * `culvert/tunnel`: streams with flow control and resumption over a link of your own.
 * docs/protocol.md describes the protocol.
 */
export { type Clock, systemClock, type Timer } from '../base/clock.ts';
export { type Logger, silentLogger } from '../base/log/logger.ts';
export { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';
export { encodeFrame, FrameType } from '../tunnel/frame.ts';
export { FrameDecoder } from '../tunnel/frame-decoder.ts';
export { defaultLimits, type TunnelLimits } from '../tunnel/limits.ts';
export type { AttachableLink, Link, LinkOwner } from '../tunnel/link.ts';
export { memoryLinkPair } from '../tunnel/memory-link.ts';
export { Session } from '../tunnel/session.ts';
export type { SessionOptions } from '../tunnel/session-options.ts';
export { type Block, SlabPool } from '../tunnel/slab.ts';
export type { Stream } from '../tunnel/stream.ts';
export type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
export type { StreamRequest, Target } from '../tunnel/stream-request.ts';
export { WindowBudget } from '../tunnel/window-budget.ts';
