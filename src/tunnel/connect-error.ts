/**
 * The step of an attempt that failed: the name lookup, TCP, the proxy, TLS, the answer of the other
 * end (`rejected`: with an error; `not_websocket`: as no broker does), the time limit, or the
 * caller's signal.
 */
export type ConnectErrorCode =
  | 'dns'
  | 'connect'
  | 'proxy'
  | 'tls'
  | 'rejected'
  | 'not_websocket'
  | 'timeout'
  | 'aborted';

export interface ConnectErrorDetails extends ErrorOptions {
  /** The HTTP status of the answer, from the other end or from a proxy. */
  readonly status?: number | undefined;
  /**
   * The code in a broker's own answer; undefined: a proxy or firewall on the way answered instead.
   */
  readonly brokerCode?: string | undefined;
  /** How long the other end asked this end to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * The reason why an attempt made no link: the step that failed, and a sentence that names the cause
 * and the next step.
 *
 * Every failure but `aborted` can be retried, after `retryAfterMs` if that is given. Two answers of
 * a broker last until an operator acts: `isRefusal` tells them apart.
 */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly code: ConnectErrorCode;
  readonly status: number | undefined;
  readonly brokerCode: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ConnectErrorCode, message: string, details: ConnectErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.status = details.status;
    this.brokerCode = details.brokerCode;
    this.retryAfterMs = details.retryAfterMs;
  }

  /**
   * Whether the broker itself refused the credential. The same answer of a proxy or firewall can
   * change at any time.
   */
  get isRefusal(): boolean {
    return this.brokerCode === 'unauthorized' || this.brokerCode === 'forbidden';
  }
}
