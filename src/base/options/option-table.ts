import type { CaUse } from '../tls/ca-certificates.ts';
import type { HostMaybePort, HostPort } from './option-parsers.ts';
import type { Secret } from '../secret.ts';

/** How the text of an option becomes a value. `file` is a path that must be readable at the start. */
type OptionKind =
  | { readonly kind: 'string' | 'hostPort' | 'hostMaybePort' | 'dnsLabel' | 'clusterName' }
  /** `holdsCasOf`: a file of CA certificates, which are read at the start too. */
  | { readonly kind: 'file'; readonly holdsCasOf?: CaUse }
  | { readonly kind: 'bytes' | 'boolean' | 'destination' }
  | { readonly kind: 'url'; readonly protocols: readonly string[] }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number; readonly max?: number }
  | { readonly kind: 'durationMs'; readonly min?: number; readonly max?: number };

/** One option: its flag is `--name`, its variable CULVERT_NAME in upper snake case. */
export type Option = OptionKind & {
  readonly name: string;
  /** One sentence or two; help and docs/configuration.md show it. */
  readonly help: string;
  /** What stands for the value in the help (`FILE`, `HOST:PORT`); each kind has its own. */
  readonly placeholder?: string;
  /** Text that is parsed like a flag's, or how a value is made and what the help says about it. */
  readonly default?: string | { readonly says: string; readonly make: () => string };
  readonly required?: true;
  /** May be given several times; in the environment the values are separated by commas. */
  readonly repeatable?: true;
  /** Becomes a `Secret`, and problems do not repeat its value. */
  readonly secret?: true;
  /** Has no flag: what stands in a command line can be read by every user of the machine. */
  readonly envOnly?: true;
};

/** The options of a program; the keys are the fields of what `readOptions` returns. */
export type OptionsTable = Readonly<Record<string, Option>>;

interface ParsedBy {
  string: string;
  dnsLabel: string;
  clusterName: string;
  file: string;
  hostPort: HostPort;
  hostMaybePort: HostMaybePort;
  bytes: number;
  /** As it was given; `parseDestinationPattern` reads it. */
  destination: string;
  boolean: boolean;
  url: URL;
  choice: string;
  integer: number;
  durationMs: number;
}
type OneValue<O extends Option> = O extends { secret: true }
  ? Secret
  : O extends { kind: 'choice'; choices: readonly (infer C)[] }
    ? C
    : ParsedBy[O['kind']];
/** What an option is read as: undefined only where it is neither required nor has a default. */
export type OptionValue<O extends Option> = O extends { repeatable: true }
  ? readonly OneValue<O>[]
  : O extends { kind: 'boolean' }
    ? boolean
    : O extends { required: true } | { default: unknown }
      ? OneValue<O>
      : OneValue<O> | undefined;

/** What `readOptions` returns for a table: frozen, one field per option. */
export type OptionValues<T extends OptionsTable> = { readonly [K in keyof T]: OptionValue<T[K]> };

export type Env = Readonly<Record<string, string | undefined>>;

export const flagOf = (option: Option): string => `--${option.name}`;
export const envOf = (option: Option): string =>
  `CULVERT_${option.name.toUpperCase().replaceAll('-', '_')}`;
/** How a problem names the option when the user gave neither. */
export const labelOf = (option: Option): string =>
  option.envOnly ? envOf(option) : flagOf(option);
/** The default as help and docs show it. */
export const defaultTextOf = (option: Option): string | undefined =>
  typeof option.default === 'object' ? option.default.says : option.default;
