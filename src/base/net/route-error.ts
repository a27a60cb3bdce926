/**
 * The step that failed: a name lookup, TCP, the proxy's answer, TLS, or an answer that is not HTTP.
 */
export type RouteErrorCode = 'dns' | 'connect' | 'proxy' | 'tls' | 'not_http';

export interface RouteErrorDetails extends ErrorOptions {
  /** The HTTP status that the proxy answered with. */
  readonly status?: number | undefined;
  /** How long the proxy asked us to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * A connection could not be opened. The code is the step that failed, and the message gives the
 * cause and the next step.
 */
export class RouteError extends Error {
  override readonly name = 'RouteError';
  readonly code: RouteErrorCode;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: RouteErrorCode, message: string, details: RouteErrorDetails = {}) {
    super(message, details);
    this.code = code;
    this.status = details.status;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The `code` of a system or TLS error. Empty when there is none. */
export function codeOf(thrown: unknown): string {
  const { code } = thrown as { code?: unknown };
  return typeof code === 'string' ? code : '';
}
