import type { FieldProblem, TextCheck } from '../api/field-problem.ts';
import { present } from '../api/fields.ts';

/** The part of an OpenAPI v3 schema that decides how a value is read. */
export interface Schema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'integer-or-string';
  readonly default?: string | number;
  readonly enum?: readonly string[];
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  /** The object stays undefined when it is missing. */
  readonly optional?: true;
}

/** What a schema does not state about one field. */
export interface Rule {
  readonly check?: TextCheck;
  readonly minimum?: number;
  readonly maximum?: number;
  /** For a field that a schema requires although objects of earlier versions may lack it. */
  readonly default?: string;
}

/** The rules for the fields of a value: those of a list apply to its items, those of a map to keys. */
export type Rules<T> = T extends readonly (infer I)[]
  ? Rules<I>
  : T extends object
    ? string extends keyof T
      ? Rule
      : { readonly [K in keyof T]?: Rules<NonNullable<T[K]>> }
    : Rule;

type AnyRules = Rule & Readonly<Record<string, unknown>>;

/**
 * Reads values that no API server has checked. A field that is missing, null or an empty text gets
 * the default of its schema, and so do the fields of an object that is missing. A field that is
 * wrong gets the default as well, and becomes a problem.
 */
export class SchemaReader {
  readonly #problems: FieldProblem[];

  constructor(problems: FieldProblem[]) {
    this.#problems = problems;
  }

  read(schema: Schema, rules: AnyRules = {}, value: unknown, path: string): unknown {
    if (schema.additionalProperties) return this.#readMap(schema, rules, value, path);
    if (schema.type === 'object') return this.#readObject(schema, rules, value, path);
    if (schema.type === 'array') return this.#readList(schema, rules, value, path);
    const fallback = rules.default ?? schema.default;
    if (isMissing(value) || (value === '' && schema.type === 'string')) return fallback;
    return this.#checked(schema, rules, value, path) ?? fallback;
  }

  #readObject(schema: Schema, rules: AnyRules, value: unknown, path: string): object {
    const { properties = {}, required = [] } = schema;
    const given = this.#fieldsOf(value, path);
    const read = Object.entries(properties).map(([name, child]) => {
      const field = `${path}.${name}`;
      if (child.optional && isMissing(given[name])) return [name, undefined];
      const found = this.read(child, rules[name] as AnyRules | undefined, given[name], field);
      if (found !== undefined || !required.includes(name)) return [name, found];
      if (isMissing(given[name]) || given[name] === '') this.#problem(field, 'is missing');
      return [name, ''];
    });
    return Object.fromEntries(read);
  }

  #readList(schema: Schema, rules: AnyRules, value: unknown, path: string): unknown {
    const items = schema.items!;
    if (!isMissing(value) && !Array.isArray(value)) {
      this.#problem(path, `is ${shown(value)}, a list is needed`);
    }
    const list: readonly unknown[] = Array.isArray(value) ? value : [];
    const isPairs = items.required?.[0] === 'key';
    const itemRules = isPairs ? { key: rules } : rules;
    const read: readonly unknown[] = list.flatMap((item, index) => {
      const at = `${path}[${index}]`;
      return items.type === 'object'
        ? present(this.read(items, itemRules, item, at) as object)
        : (this.#checked(items, itemRules, item, at) ?? []);
    });
    if (!isPairs) return read;
    const pairs = read as readonly { readonly key: string; readonly value?: string }[];
    const named = pairs.filter(({ key }) => key !== '');
    return Object.fromEntries(named.map(({ key, value: text = '' }) => [key, text]));
  }

  #readMap(schema: Schema, rules: AnyRules, value: unknown, path: string): object {
    const entries = Object.entries(this.#fieldsOf(value, path)).flatMap(([name, item]) => {
      const read = this.#checked(schema.additionalProperties!, rules, item, `${path}.${name}`);
      return read === undefined ? [] : [[name, String(read)] as const];
    });
    return Object.fromEntries(entries);
  }

  /** A text or a number. Undefined: it is wrong, which is a problem. */
  #checked(schema: Schema, rules: AnyRules, value: unknown, path: string) {
    const sentence = problemOf(schema, rules, value);
    if (sentence === undefined) return value as string | number;
    this.#problem(path, sentence);
    return undefined;
  }

  #fieldsOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
    if (!isMissing(value)) this.#problem(path, `is ${shown(value)}, an object is needed`);
    return {};
  }

  #problem(field: string, sentence: string): void {
    this.#problems.push({ field, sentence });
  }
}

/** The sentence about a text or a number that is wrong, to follow its field. */
function problemOf(schema: Schema, rules: AnyRules, value: unknown): string | undefined {
  if (schema.type === 'integer') {
    const minimum = rules.minimum ?? schema.minimum ?? Number.MIN_SAFE_INTEGER;
    const maximum = rules.maximum ?? schema.maximum ?? Number.MAX_SAFE_INTEGER;
    const isInside =
      Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum;
    const needed = `a whole number from ${minimum} to ${maximum} is needed`;
    return isInside ? undefined : `is ${shown(value)}, ${needed}`;
  }
  const isNumber = schema.type === 'integer-or-string' && typeof value === 'number';
  const text = isNumber ? String(value) : value;
  if (typeof text !== 'string') return `is ${shown(value)}, a text is needed`;
  if (schema.enum?.includes(text) === false) {
    return `is ${shown(value)}, one of ${schema.enum.join(', ')} is needed`;
  }
  return rules.check?.(text);
}

function isMissing(value: unknown): boolean {
  return value === undefined || value === null;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
