import { parseDestinationPattern } from '../net/destination-pattern.ts';
import { ConfigError } from './option-problems.ts';
import { type Given, givenByEnv, givenByFlags } from './parse-args.ts';
import { envOf, labelOf } from './option-table.ts';
import type { Env, Option, OptionsTable, OptionValue, OptionValues } from './option-table.ts';
import * as values from './option-parsers.ts';
import { Secret } from '../secret.ts';

/** What a program looks at to find problems between options. */
export interface OptionsDraft<T extends OptionsTable> {
  /** Undefined also where the value had a problem of its own. */
  readonly values: { readonly [K in keyof T]: OptionValue<T[K]> | undefined };
  /** Whether flag or variable was there at all, well formed or not. */
  given(this: void, key: keyof T): boolean;
  /** How the user gave it: `--listen` or `CULVERT_LISTEN`; the flag where it was not given. */
  label(this: void, key: keyof T): string;
  /** Adds a sentence to what ConfigError reports. */
  problem(this: void, sentence: string): void;
  /** Adds a sentence that the program logs when it starts. */
  warn(this: void, sentence: string): void;
}

export interface ReadOptions<T extends OptionsTable> {
  readonly values: OptionValues<T>;
  /** Sentences to log at the start. */
  readonly warnings: readonly string[];
}

/**
 * Reads the options in `table`: flags beat the environment, the environment beats defaults. An empty variable counts as not
 * set. Nothing that was given is ever replaced by a default: what cannot be understood is reported.
 *
 * @param check looks at options together, when each has been read; its problems join the list
 * @throws ConfigError with every problem there is
 */
export function readOptions<T extends OptionsTable>(
  table: T,
  argv: readonly string[],
  env: Env,
  check?: (draft: OptionsDraft<T>) => void,
): ReadOptions<T> {
  const problems: string[] = [];
  const warnings: string[] = [];
  const given = new Map([
    ...givenByEnv(table, env, problems),
    ...givenByFlags(table, argv, problems),
  ]);

  const read: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(table)) {
    read[key] = valueOf(option, given.get(option.name), problems);
  }
  check?.({
    values: read as OptionsDraft<T>['values'],
    given: (key) => given.has(table[key]!.name),
    label: (key) => given.get(table[key]!.name)?.label ?? labelOf(table[key]!),
    problem: (sentence) => problems.push(sentence),
    warn: (sentence) => warnings.push(sentence),
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return { values: Object.freeze(read) as OptionValues<T>, warnings };
}

function valueOf(option: Option, given: Given | undefined, problems: string[]): unknown {
  if (given === undefined) {
    if (option.required) problems.push(`${labelOf(option)} is required (or ${envOf(option)})`);
    if (option.kind === 'boolean' && option.default === undefined) return false;
  }
  const { label, texts } = given ?? { label: labelOf(option), texts: defaultTexts(option) };
  const parsed: unknown[] = [];
  for (const text of texts) {
    try {
      parsed.push(parse(option, text));
    } catch (thrown) {
      if (!(thrown instanceof values.ValueProblem)) throw thrown;
      // A URL may be malformed and still hold a password.
      const shown = JSON.stringify(text).replace(/\/\/.*@/, '//[redacted]@');
      problems.push(`${label}${option.secret ? '' : `=${shown}`} ${thrown.message}`);
    }
  }
  return option.repeatable ? Object.freeze(parsed) : parsed[0];
}

function defaultTexts({ default: text }: Option): readonly string[] {
  if (text === undefined) return [];
  return [typeof text === 'object' ? text.make() : text];
}

const parsers: {
  readonly [K in Option['kind']]: (text: string, option: Option & { readonly kind: K }) => unknown;
} = {
  string: (text) => text,
  dnsLabel: values.parseDnsLabel,
  clusterName: values.parseClusterName,
  file: (path, { holdsCasOf }) => values.parseFile(path, holdsCasOf),
  hostPort: (text) => Object.freeze(values.parseHostPort(text)),
  hostMaybePort: (text) => Object.freeze(values.parseHostMaybePort(text)),
  bytes: values.parseBytes,
  destination(text) {
    parseDestinationPattern(text);
    return text;
  },
  boolean: values.parseBoolean,
  url: (text, { protocols }) => values.parseUrl(text, protocols),
  choice: (text, { choices }) => values.parseChoice(text, choices),
  integer: (text, { min, max }) => values.parseInteger(text, min, max),
  durationMs: (text, { min, max }) => values.parseDurationMs(text, min, max),
};

/** What is wrong with the text of an option, to be put after it (`is too large, at most 2`); undefined: nothing. */
export function problemOf(option: Option, text: string): string | undefined {
  try {
    parse(option, text);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof values.ValueProblem)) throw thrown;
    return thrown.message;
  }
}

function parse(option: Option, text: string): unknown {
  if (option.secret) return new Secret(text);
  // The table above pairs each kind with its parser; the compiler cannot carry that through an index.
  const parser = parsers[option.kind] as (text: string, option: Option) => unknown;
  return parser(text, option);
}
