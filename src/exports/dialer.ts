/** `culvert/dialer`: opens streams into clusters through a broker, on Node. */
export { type Logger, silentLogger } from '../base/log/logger.ts';
export type { Dialer } from '../dialer/dialer.ts';
export { createRemoteDialer, type RemoteDialerOptions } from '../dialer/node/remote-dialer.ts';
export { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';
export type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
export type { Target } from '../tunnel/stream-request.ts';
