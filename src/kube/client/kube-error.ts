/** Every way in which a call to an API server can end badly. docs/errors.md explains each. */
export const kubeErrorCodes = [
  // What the server says of the object.
  'not_found',
  'already_exists',
  'conflict',
  'invalid',
  // What it says of us.
  'unauthorized',
  'forbidden',
  // What it says of the request.
  'not_served',
  'gone',
  // It did not answer, or not so that it could be understood.
  'unavailable',
  'timeout',
  'bad_response',
  // We do not know where it is or who we are.
  'bad_config',
] as const;
export type KubeErrorCode = (typeof kubeErrorCodes)[number];

export interface KubeErrorOptions extends ErrorOptions {
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  /** What the server asks for before the next attempt, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/** The one error class of the Kubernetes door: callers branch on `code`, people read the sentence. */
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
