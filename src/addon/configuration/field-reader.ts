import type { FieldProblem, TextCheck } from '../api/field-problem.ts';

const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

/**
 * Reads the fields of an object that nobody has checked. Missing, null and (for texts) empty fields give the default, and so do
 * the fields of a parent that is missing; what is there and wrong gives the default and a problem.
 */
export class FieldReader {
  readonly path: string;
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #problems: FieldProblem[];

  constructor(value: unknown, path: string, problems: FieldProblem[]) {
    this.path = path;
    this.#problems = problems;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    this.#fields = isObject ? (value as Record<string, unknown>) : {};
    if (!isObject && value !== undefined && value !== null) {
      this.#report(path, `is ${shown(value)}, an object is needed`);
    }
  }

  /** Whether the field is there at all, well formed or not. */
  has(key: string): boolean {
    return this.#fields[key] !== undefined && this.#fields[key] !== null;
  }

  problem(key: string, sentence: string): void {
    this.#report(this.#at(key), sentence);
  }

  child(key: string): FieldReader {
    return new FieldReader(this.#fields[key], this.#at(key), this.#problems);
  }

  text(key: string, fallback: string, check?: TextCheck): string {
    return this.optionalText(key, check) ?? fallback;
  }

  optionalText(key: string, check?: TextCheck): string | undefined {
    const value = this.#fields[key];
    if (!this.has(key) || value === '') return undefined;
    if (typeof value !== 'string') return this.#wrong(key, `is ${shown(value)}, a text is needed`);
    const sentence = check?.(value);
    return sentence === undefined ? value : this.#wrong(key, sentence);
  }

  /** The empty text where it is missing or wrong, which is a problem. */
  requiredText(key: string, check?: TextCheck): string {
    if (!this.has(key) || this.#fields[key] === '') this.problem(key, 'is missing');
    return this.optionalText(key, check) ?? '';
  }

  integer(key: string, fallback: number, min: number, max: number): number {
    const value = this.#fields[key];
    if (!this.has(key)) return fallback;
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
      return value as number;
    }
    this.problem(key, `is ${shown(value)}, a whole number from ${min} to ${max} is needed`);
    return fallback;
  }

  choice<C extends string>(key: string, choices: readonly C[], fallback: C): C {
    const text = this.optionalText(key, (value) =>
      choices.includes(value as C)
        ? undefined
        : `is ${shown(value)}, one of ${choices.join(', ')} is needed`,
    );
    return (text as C | undefined) ?? fallback;
  }

  texts(key: string, check?: TextCheck): readonly string[] {
    const texts: string[] = [];
    for (const [at, value] of this.#list(key).entries()) {
      const field = `${key}[${at}]`;
      if (typeof value !== 'string') {
        this.problem(field, `is ${shown(value)}, a text is needed`);
        continue;
      }
      const sentence = check?.(value);
      if (sentence === undefined) texts.push(value);
      else this.problem(field, sentence);
    }
    return texts;
  }

  objects(key: string): readonly FieldReader[] {
    return this.#list(key).map(
      (value, at) => new FieldReader(value ?? {}, `${this.#at(key)}[${at}]`, this.#problems),
    );
  }

  /** A map of names to texts; with `numbers` numbers are taken too, as in quantities. */
  textMap(
    key: string,
    { numbers = false, check }: { numbers?: boolean; check?: TextCheck } = {},
  ): Readonly<Record<string, string>> {
    const child = this.child(key);
    const map: Record<string, string> = {};
    for (const [name, value] of Object.entries(child.#fields)) {
      const text = numbers && typeof value === 'number' ? String(value) : value;
      const sentence =
        typeof text === 'string' ? check?.(text) : `is ${shown(value)}, a text is needed`;
      if (sentence === undefined) map[name] = text as string;
      else child.problem(name, sentence);
    }
    return map;
  }

  /** Once, however often the field is read. */
  #report(field: string, sentence: string): void {
    const known = this.#problems.some((one) => one.field === field && one.sentence === sentence);
    if (!known) this.#problems.push({ field, sentence });
  }

  #at(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  #list(key: string): readonly unknown[] {
    const value = this.#fields[key];
    if (Array.isArray(value)) return value;
    if (this.has(key)) this.problem(key, `is ${shown(value)}, a list is needed`);
    return [];
  }

  #wrong(key: string, sentence: string): undefined {
    this.problem(key, sentence);
    return undefined;
  }
}
