/**
 * `not_found`: the name does not exist, or has no address. `no_answer`: the DNS servers failed or
 * did not answer. `overloaded`: there are too many lookups.
 */
export type NameErrorCode = 'not_found' | 'no_answer' | 'overloaded';

/** The addresses of a name could not be found. */
export class NameError extends Error {
  override readonly name = 'NameError';
  readonly code: NameErrorCode;

  constructor(code: NameErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
