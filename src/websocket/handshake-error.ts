export type HandshakeErrorCode =
  | 'dns'
  | 'connect'
  | 'proxy'
  | 'tls'
  | 'rejected'
  | 'not_websocket'
  | 'timeout'
  | 'aborted';

export interface HandshakeErrorDetails extends ErrorOptions {
  /** The HTTP status that the other end, or the proxy, answered with. */
  readonly status?: number | undefined;
  /** The code in the answer, where that is a broker's own; none: something on the way answered in its place. */
  readonly brokerCode?: string | undefined;
  /** How long the other end asked us to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/** Why no link came about: the step that failed, and a sentence that names the cause and what to do next. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError';
  readonly code: HandshakeErrorCode;
  readonly status: number | undefined;
  readonly brokerCode: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: HandshakeErrorCode, message: string, details: HandshakeErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.status = details.status;
    this.brokerCode = details.brokerCode;
    this.retryAfterMs = details.retryAfterMs;
  }
}
