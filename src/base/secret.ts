/**
 * A value that is never printed by accident. String conversion, JSON and Node's inspect all show
 * `[redacted]`. Only `reveal()` gives the text, so a search for it finds every use of a credential.
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

  /**
   * The text that console.log and assertion messages show on Node. The symbol is a registered one,
   * so no runtime type is needed.
   */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[redacted]';
  }
}
