export interface ValueErrorOptions {
  /**
   * The message must not be shown next to the text, because the message quotes the text or the text
   * may hold a secret.
   */
  readonly withoutText?: boolean;
}

/**
 * A text is not a valid value of the expected kind. The message is a predicate (`is not a
 * duration`). Callers put the name of an option or a field, and its text, before it.
 */
export class ValueError extends Error {
  override readonly name = 'ValueError';
  readonly withoutText: boolean;

  constructor(message: string, { withoutText = false }: ValueErrorOptions = {}) {
    super(message);
    this.withoutText = withoutText;
  }
}
