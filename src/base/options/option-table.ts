import type { HostPort, HostWithOptionalPort } from '../net/host-port.ts';
import type { Secret } from '../secret.ts';
import type { CaUse } from '../tls/ca-certificates.ts';

/** How the text of an option becomes a value. */
type OptionKind =
  | { readonly kind: 'string' | 'hostPort' | 'hostWithOptionalPort' | 'dnsLabel' | 'clusterName' }
  /**
   * The path of a file that must be readable when the program starts. `holdsCasOf`: its CA
   * certificates are checked as well.
   */
  | { readonly kind: 'file'; readonly holdsCasOf?: CaUse }
  | { readonly kind: 'bytes' | 'boolean' | 'destination' }
  | { readonly kind: 'url'; readonly protocols: readonly string[] }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number; readonly max?: number }
  | { readonly kind: 'durationMs'; readonly min?: number; readonly max?: number }
  /** A kind that only one option has. `parse` throws ValueError. */
  | {
      readonly kind: 'parsed';
      readonly parse: (text: string) => unknown;
      readonly placeholder: string;
    };

/** A default that is computed when the program starts. */
interface ComputedDefault {
  /** The text that help and docs show instead of the value. */
  readonly help: string;
  readonly make: () => string;
}

/** One option. Its flag is `--name`, and its variable is CULVERT_NAME in upper snake case. */
export type Option = OptionKind & {
  readonly name: string;
  /** One or two sentences, shown by `--help` and in docs/configuration.md. */
  readonly help: string;
  /**
   * The word that stands for the value in the help, such as `FILE` or `HOST:PORT`. The default
   * depends on the kind.
   */
  readonly placeholder?: string;
  /**
   * A text that is parsed like the text of a flag. No other place repeats it: code gets it from
   * `defaultOf`.
   */
  readonly default?: string | ComputedDefault;
  readonly required?: true;
  /** May be given several times. In the environment, commas separate the values. */
  readonly repeatable?: true;
  /** The value becomes a `Secret`, and messages do not repeat it. */
  readonly secret?: true;
  /** Has no variable, because the flag belongs to a command line of another project. */
  readonly flagOnly?: true;
  /** Has no flag, because every user of a machine can read its command lines. */
  readonly envOnly?: true;
  /** Has no flag: it is an argument, in the order of the table. */
  readonly positional?: true;
};

/**
 * The options of a program. The keys are the properties of the object that `readOptions` returns.
 */
export type OptionsTable = Readonly<Record<string, Option>>;

interface ValueOfKind {
  string: string;
  dnsLabel: string;
  clusterName: string;
  file: string;
  hostPort: HostPort;
  hostWithOptionalPort: HostWithOptionalPort;
  bytes: number;
  /** The text as it was given. `parseDestinationPattern` accepts it. */
  destination: string;
  boolean: boolean;
  url: URL;
  choice: string;
  integer: number;
  durationMs: number;
  parsed: unknown;
}
type SingleValue<O extends Option> = O extends { secret: true }
  ? Secret
  : O extends { kind: 'choice'; choices: readonly (infer C)[] }
    ? C
    : O extends { kind: 'parsed'; parse: (text: string) => infer V }
      ? V
      : ValueOfKind[O['kind']];

/**
 * The type of an option's value. It includes undefined when the option is neither required nor has
 * a default.
 */
export type OptionValue<O extends Option> = O extends { repeatable: true }
  ? readonly SingleValue<O>[]
  : O extends { kind: 'boolean' }
    ? boolean
    : O extends { required: true } | { default: unknown }
      ? SingleValue<O>
      : SingleValue<O> | undefined;

/**
 * The values of a table's options: what `readOptions` returns, frozen, with one property per row.
 */
export type OptionsOf<T extends OptionsTable> = { readonly [K in keyof T]: OptionValue<T[K]> };

export type Env = Readonly<Record<string, string | undefined>>;

export const flagOf = (option: Option): string => `--${option.name}`;
/** How an argument without a flag is named in messages and in help: `CLUSTER`. */
export const argumentOf = (option: Option): string =>
  option.name.toUpperCase().replaceAll('-', '_');
export const envOf = (option: Option): string => `CULVERT_${argumentOf(option)}`;
/** The name of an option in messages when the user has set neither flag nor variable. */
export const labelOf = (option: Option): string => {
  if (option.positional) return argumentOf(option);
  return option.envOnly ? envOf(option) : flagOf(option);
};
/** The default as help and docs show it. */
export const defaultTextOf = (option: Option): string | undefined =>
  typeof option.default === 'object' ? option.default.help : option.default;

/** The rows of a table, without variables. */
export function withoutVariables<const T extends OptionsTable>(
  table: T,
): { readonly [K in keyof T]: T[K] & { readonly flagOnly: true } } {
  const rows = Object.entries(table).map(([key, row]) => [key, { ...row, flagOnly: true }]);
  return Object.fromEntries(rows) as {
    readonly [K in keyof T]: T[K] & { readonly flagOnly: true };
  };
}
