import { parseDestinationPattern } from '../net/destination-pattern.ts';
import { parseHostPort, parseHostWithOptionalPort } from '../net/host-port.ts';
import { Secret } from '../secret.ts';
import { ValueError } from '../value-error.ts';
import { ConfigError } from './option-problems.ts';
import * as parsers from './option-parsers.ts';
import { envOf, labelOf } from './option-table.ts';
import type { Env, Option, OptionsOf, OptionsTable, OptionValue } from './option-table.ts';
import { type Given, givenByEnv, givenByFlags } from './parse-args.ts';

/**
 * Options that were read one by one. A program's check reports options that do not fit together.
 */
export interface OptionsDraft<T extends OptionsTable> {
  /** Undefined also for a value that has a problem of its own. */
  readonly values: { readonly [K in keyof T]: OptionValue<T[K]> | undefined };
  /** True when the flag or the variable was set, even to a malformed value. */
  given(this: void, key: keyof T): boolean;
  /**
   * The name that the user set: `--listen` or `CULVERT_LISTEN`. If neither was set, it is the flag.
   */
  label(this: void, key: keyof T): string;
  /** Adds a sentence to the problems of ConfigError. */
  problem(this: void, sentence: string): void;
  /** Adds a sentence that the program logs when it starts. */
  warn(this: void, sentence: string): void;
}

export interface ReadOptions<T extends OptionsTable> {
  readonly values: OptionsOf<T>;
  /** Sentences that the program logs when it starts. */
  readonly warnings: readonly string[];
}

/**
 * Reads the options in `table`. Flags override the environment, and the environment overrides
 * defaults. An empty variable counts as not set. A malformed value is reported and never replaced
 * by the default.
 *
 * @param check called when every option has been read; its problems join the list
 * @throws ConfigError with all problems together
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
  return { values: Object.freeze(read) as OptionsOf<T>, warnings };
}

function valueOf(option: Option, given: Given | undefined, problems: string[]): unknown {
  if (given === undefined) {
    if (option.required) {
      const variable = option.flagOnly ? '' : ` (or ${envOf(option)})`;
      problems.push(`${labelOf(option)} is required${variable}`);
    }
    if (option.kind === 'boolean' && option.default === undefined) return false;
  }
  const { label, texts } = given ?? { label: labelOf(option), texts: defaultTexts(option) };
  const parsed: unknown[] = [];
  for (const text of texts) {
    try {
      parsed.push(parse(option, text));
    } catch (thrown) {
      if (!(thrown instanceof ValueError)) throw thrown;
      // A malformed URL can still hold a password.
      const shown = JSON.stringify(text).replace(/\/\/.*@/, '//[redacted]@');
      const isHidden = option.secret === true || thrown.withoutText;
      problems.push(`${label}${isHidden ? '' : `=${shown}`} ${thrown.message}`);
    }
  }
  return option.repeatable ? Object.freeze(parsed) : parsed[0];
}

function defaultTexts({ default: text }: Option): readonly string[] {
  if (text === undefined) return [];
  return [typeof text === 'object' ? text.make() : text];
}

/** The values of the options in `table`, out of the values of a larger table. */
export function pickOptions<T extends OptionsTable>(table: T, values: OptionsOf<T>): OptionsOf<T> {
  const keys = Object.keys(table) as (keyof T)[];
  return Object.fromEntries(keys.map((key) => [key, values[key]])) as OptionsOf<T>;
}

/** The values of a table's options, except the options in `keys`. */
export function omitOptions<V extends object, K extends keyof V & string>(
  values: V,
  keys: readonly K[],
): Omit<V, K> {
  const omitted: readonly string[] = keys;
  const kept = Object.entries(values).filter(([key]) => !omitted.includes(key));
  return Object.fromEntries(kept) as Omit<V, K>;
}

/** An option that always has one value. */
type DefaultedOption = Option & { readonly default: unknown; readonly repeatable?: never };

/** The value of an option that is not set. */
export function defaultOf<O extends DefaultedOption>(option: O): OptionValue<O> {
  return parse(option, defaultTexts(option)[0]!) as OptionValue<O>;
}

/**
 * The value that a program uses when it is started with `flags`, whose names have no dashes. If an
 * option is given several times, the last flag counts.
 *
 * @throws ValueError the text of the flag is malformed
 */
export function valueAmong<O extends DefaultedOption>(
  option: O,
  flags: Iterable<readonly [name: string, text: string]>,
): OptionValue<O> {
  const text = new Map(flags).get(option.name);
  return text === undefined ? defaultOf(option) : (parse(option, text) as OptionValue<O>);
}

/**
 * The problem with a text of an option, as a predicate (`is too large, at most 2`). Undefined when
 * the text is valid.
 */
export function problemOf(option: Option, text: string): string | undefined {
  try {
    parse(option, text);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof ValueError)) throw thrown;
    return thrown.message;
  }
}

const parserOf: {
  readonly [K in Option['kind']]: (text: string, option: Option & { readonly kind: K }) => unknown;
} = {
  string: (text) => text,
  dnsLabel: parsers.parseDnsLabel,
  clusterName: parsers.parseClusterName,
  file: (path, { holdsCasOf }) => parsers.parseFile(path, holdsCasOf),
  hostPort: (text) => Object.freeze(parseHostPort(text)),
  hostWithOptionalPort: (text) => Object.freeze(parseHostWithOptionalPort(text)),
  bytes: parsers.parseBytes,
  destination(text) {
    parseDestinationPattern(text);
    return text;
  },
  boolean: parsers.parseBoolean,
  url: (text, { protocols }) => parsers.parseUrl(text, protocols),
  choice: (text, { choices }) => parsers.parseChoice(text, choices),
  integer: (text, { min, max }) => parsers.parseInteger(text, min, max),
  durationMs: (text, { min, max }) => parsers.parseDurationMs(text, min, max),
  parsed: (text, option) => option.parse(text),
};

function parse(option: Option, text: string): unknown {
  if (option.secret) return new Secret(text);
  // `parserOf` pairs each kind with its parser. The compiler cannot follow that through an index.
  const parser = parserOf[option.kind] as (text: string, option: Option) => unknown;
  return parser(text, option);
}
