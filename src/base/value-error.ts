export interface ValueErrorOptions {
  /** The message must not be shown next to the text, because the message quotes the text or because the text may hold a secret. */
  readonly withoutText?: boolean;
}

/**
 * A text is not a value of the kind that was asked for. The message is a predicate (`is not a duration`), so that callers put the name of an
 * option or a field, and its text, in front of it.
 */
export class ValueError extends Error {
  override readonly name = 'ValueError';
  readonly withoutText: boolean;

  constructor(message: string, { withoutText = false }: ValueErrorOptions = {}) {
    super(message);
    this.withoutText = withoutText;
  }
}
