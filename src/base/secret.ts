/**
 * A value that must not be printed by accident: string conversion, JSON and Node's inspect all show `[redacted]`.
 * Only `reveal()` gives the text, so a search for it finds every place that a credential goes to.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return '[redacted]';
  }

  toJSON(): string {
    return '[redacted]';
  }

  /** What console.log and assertion messages show on Node; a registered symbol, so no runtime type is needed. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[redacted]';
  }
}
