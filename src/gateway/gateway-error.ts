/**
 * The part of the path between client and target at which a request failed. It is named in the
 * message and in the `details` of the Status.
 */
export type Hop = 'client' | 'gateway' | 'broker' | 'agent' | 'server';

/** The reasons of `metav1.StatusReason` that the gateway uses, with their HTTP status codes. */
export const statusCodes = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  RequestHeaderFieldsTooLarge: 431,
  TooManyRequests: 429,
  BadGateway: 502,
  ServiceUnavailable: 503,
  Timeout: 504,
} as const;
export type StatusReason = keyof typeof statusCodes;

export interface GatewayErrorOptions extends ErrorOptions {
  readonly hop?: Hop;
  /**
   * Seconds after which the client may send the request again. Only for requests that no server has
   * received, because client-go repeats every request, also a POST, whose answer has it.
   */
  readonly retryAfterSeconds?: number;
}

/**
 * A request that the gateway answers itself. It becomes a Kubernetes `Status`. The message is for
 * the client and holds no credential.
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly reason: StatusReason;
  readonly hop: Hop;
  readonly retryAfterSeconds: number | undefined;

  constructor(reason: StatusReason, message: string, options: GatewayErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.hop = options.hop ?? 'gateway';
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get code(): number {
    return statusCodes[this.reason];
  }
}
