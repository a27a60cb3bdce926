/** `away`: no answer. `refused`: an answer, and it is an error. */
export type RedisErrorCode = 'away' | 'refused';

/**
 * Everything that can go wrong with Redis or the way to it. Its messages contain no credentials.
 */
export class RedisError extends Error {
  override readonly name = 'RedisError';
  readonly code: RedisErrorCode;

  constructor(code: RedisErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
