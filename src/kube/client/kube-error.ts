/** How a call to an API server can fail. docs/errors.md explains each code. */
export const kubeErrorCodes = [
  // The server refuses because of the object.
  'not_found',
  'already_exists',
  'conflict',
  'invalid',
  // The server refuses because of our identity.
  'unauthorized',
  'forbidden',
  // The server refuses because of the request.
  'not_served',
  'gone',
  // There is no answer, or no answer that we understand.
  'unavailable',
  'timeout',
  'bad_response',
  // The server's address or our credentials are not known.
  'bad_config',
] as const;
export type KubeErrorCode = (typeof kubeErrorCodes)[number];

export interface KubeErrorOptions extends ErrorOptions {
  /** The HTTP status, if there was an answer. */
  readonly status?: number | undefined;
  /**
   * How long the server asks to wait before the next attempt, in milliseconds. At most a minute.
   */
  readonly retryAfterMs?: number | undefined;
}

/**
 * The error class of the Kubernetes client. Callers branch on `code`, and `message` is for people.
 */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: KubeErrorCode;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: KubeErrorCode, message: string, options: KubeErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Whether this is a KubeError with one of `codes`. */
export function isKubeError(thrown: unknown, ...codes: readonly KubeErrorCode[]): boolean {
  return thrown instanceof KubeError && (codes.length === 0 || codes.includes(thrown.code));
}
