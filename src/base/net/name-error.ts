/** `not_found`: no such name, or it has no address. `no_answer`: the DNS servers failed or were silent. `overloaded`: too many lookups. */
export type NameErrorCode = 'not_found' | 'no_answer' | 'overloaded';

/** A name that has no addresses, as far as is known. */
export class NameError extends Error {
  override readonly name = 'NameError';
  readonly code: NameErrorCode;

  constructor(code: NameErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
