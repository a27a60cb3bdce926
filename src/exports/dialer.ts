/** `culvert/dialer`: opens streams into clusters through a broker, on Node. */
export { readSecretFile } from '../base/files/secret-file.ts';
export { type Logger, silentLogger } from '../base/log/logger.ts';
export { type ProxyEnvironment, readProxyEnvironment } from '../base/net/proxy-environment.ts';
export { Secret } from '../base/secret.ts';
export { connectWeb } from '../dialer/connect-web.ts';
export type { Dialer, OpenOptions } from '../dialer/dialer.ts';
export { connect } from '../dialer/node/connect.ts';
export { createRemoteDialer, type RemoteDialerOptions } from '../dialer/node/remote-dialer.ts';
export type { WebStreamPair } from '../stream-io/web-streams.ts';
export { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';
export type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';
export type { Caller, Target } from '../tunnel/stream-request.ts';
