import { describeError } from '../../base/error.ts';

/** Variables are wrong. The message names them, and never contains the value of a secret. */
export class EdgeOptionsError extends Error {
  override readonly name = 'EdgeOptionsError';
}

/** The variables of the Worker's environment, and the problems with them. */
export class EdgeVariables {
  readonly #texts = new Map<string, string>();
  readonly #problems: string[] = [];

  /** @param names the variables that exist; another one that begins with `CULVERT_` is a problem */
  constructor(env: object, names: readonly string[]) {
    for (const [name, value] of Object.entries(env)) {
      if (!name.startsWith('CULVERT_') || value === '') continue;
      const isKnown = names.includes(name);
      if (isKnown && typeof value === 'string') this.#texts.set(name, value);
      else this.problem(isKnown ? `${name} is not text` : `${name} is unknown`);
    }
  }

  has(name: string): boolean {
    return this.#texts.has(name);
  }

  /**
   * Reads a variable.
   *
   * @param parse undefined: the text is a problem, and the default is returned
   */
  read<T>(name: string, otherwise: T, parse: (text: string) => T | undefined): T {
    const text = this.#texts.get(name);
    const value = text === undefined ? otherwise : parse(text);
    if (text !== undefined && value === undefined) {
      this.problem(`${name} is not what it should be`);
    }
    return value ?? otherwise;
  }

  /**
   * Reads a variable whose text is a document. What `parse` throws is a problem. Its message may
   * quote the document, which is no secret.
   */
  readDocument<T>(name: string, parse: (text: string) => T): T | undefined {
    const text = this.#texts.get(name);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (thrown) {
      this.problem(`${name}: ${describeError(thrown)}`);
      return undefined;
    }
  }

  problem(sentence: string): void {
    this.#problems.push(sentence);
  }

  /** @throws EdgeOptionsError all problems together */
  throwProblems(): void {
    if (this.#problems.length > 0) throw new EdgeOptionsError(this.#problems.join('; '));
  }
}

export function parseBoolean(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined;
}
