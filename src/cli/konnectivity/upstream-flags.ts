import {
  type Env,
  type Option,
  type OptionsOf,
  type OptionsTable,
  withoutVariables,
} from '../../base/options/option-table.ts';
import { type OptionsDraft, readOptions } from '../../base/options/read-options.ts';
import { ValueError } from '../../base/value-error.ts';

/**
 * Command lines of konnectivity's programs, which differ from ours: `-v` is short for `--v`, and an
 * empty value (`--kubeconfig=`) means that the flag is not given.
 */
function fromUpstreamArgv(argv: readonly string[]): string[] {
  return argv
    .map((arg) => (/^-v(?=$|=)/.test(arg) ? `-${arg}` : arg))
    .filter((arg) => !/^--[a-z-]+=$/.test(arg));
}

/** The environment without settings of ours: these commands have flags only. */
export function withoutOptions(env: Env): Env {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('CULVERT_')));
}

/** Flags that are accepted and have no effect, with the reason. */
export interface IgnoredFlags {
  readonly table: OptionsTable;
  /** The sentence for each flag, by its key. */
  readonly reasons: Readonly<Record<string, string>>;
}

/** @param reasons the reason why each flag has no effect, by the flag's name */
export function ignoredFlags(
  reasons: Readonly<Record<string, string>>,
  booleans: readonly string[] = [],
): IgnoredFlags {
  const table: Record<string, Option> = {};
  for (const [name, reason] of Object.entries(reasons)) {
    const help = `Has no effect, because ${reason}.`;
    table[name] = booleans.includes(name)
      ? { name, kind: 'boolean', help }
      : { name, kind: 'string', placeholder: 'VALUE', help };
  }
  return { table: withoutVariables(table), reasons };
}

/** One sentence per given flag without effect. */
function ignoredWarnings(
  { table, reasons }: IgnoredFlags,
  given: (key: string) => boolean,
): string[] {
  return Object.keys(table)
    .filter(given)
    .map((name) => `--${name} has no effect, because ${reasons[name]}`);
}

const logFormat = 'log lines have one format and go to the standard output';
const klogReasons = {
  'add-dir-header': logFormat,
  alsologtostderr: logFormat,
  alsologtostderrthreshold: logFormat,
  'legacy-stderr-threshold-behavior': logFormat,
  'log-backtrace-at': logFormat,
  'log-dir': logFormat,
  'log-file': logFormat,
  'log-file-max-size': logFormat,
  logtostderr: logFormat,
  'one-output': logFormat,
  'skip-headers': logFormat,
  'skip-log-headers': logFormat,
  stderrthreshold: logFormat,
  vmodule: logFormat,
} as const;
const profiling = 'Node has its own profiler (node --cpu-prof)';
const noChannels = 'windows grow with the need, there are no channels of packets';

/** Flags that both programs have and that mean nothing here. */
export const commonIgnored = {
  ...klogReasons,
  'enable-profiling': profiling,
  'enable-contention-profiling': profiling,
  'kube-api-content-type': 'the API server is asked in JSON',
  'xfr-channel-size': noChannels,
  'warn-on-channel-limit': noChannels,
} as const;

export const commonIgnoredBooleans = [
  ...['add-dir-header', 'alsologtostderr', 'legacy-stderr-threshold-behavior', 'logtostderr'],
  ...['one-output', 'skip-headers', 'skip-log-headers'],
  ...['enable-profiling', 'enable-contention-profiling', 'warn-on-channel-limit'],
];

/** `--v` of klog. Above it, upstream logs each packet. */
export const verbosityTable = {
  v: {
    name: 'v',
    kind: 'integer',
    min: -10,
    default: '4',
    help: 'The verbosity. Above 4, debug lines are logged.',
  },
} as const satisfies OptionsTable;

export const logLevelOf = (verbosity: number): 'info' | 'debug' =>
  verbosity > 4 ? 'debug' : 'info';

const unitsMs: Readonly<Record<string, number>> = {
  ...{ ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 },
};

/** Reads a duration as Go writes it, such as `1h0m0s` or `1.5s`, in milliseconds. */
export function parseGoDuration(text: string): number {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    throw new ValueError('is not a duration (1h0m0s, 500ms)');
  }
  let sumMs = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)([a-zµ]+)/g)) {
    sumMs += Number(amount) * unitsMs[unit!]!;
  }
  return Math.round(sumMs);
}

/** The flags of a program of konnectivity, and the sentences that it logs when it starts. */
export interface UpstreamFlags<T extends OptionsTable> {
  readonly values: OptionsOf<T>;
  readonly warnings: readonly string[];
}

export interface UpstreamProgram<T extends OptionsTable> {
  readonly table: T;
  readonly ignored: IgnoredFlags;
  /** The flag that names the process, and the variable that sets it too. */
  readonly id: { readonly flag: string; readonly variable: string };
  /** Reports flags that do not fit together. */
  readonly check?: (draft: OptionsDraft<T>) => void;
}

/**
 * Reads the flags of one of konnectivity's programs 0.36.
 *
 * @throws ConfigError with all problems together
 */
export function readUpstreamFlags<const T extends OptionsTable>(
  { table, ignored, id, check }: UpstreamProgram<T>,
  argv: readonly string[],
  env: Env,
): UpstreamFlags<T> {
  const warnings: string[] = [];
  const flags = withId(fromUpstreamArgv(argv), id.flag, env[id.variable]);
  const full = { ...ignored.table, ...table };
  const read = readOptions(full, flags, env, (draft) => {
    warnings.push(...ignoredWarnings(ignored, (key) => draft.given(key)));
    check?.(draft);
  });
  return { values: read.values, warnings: [...read.warnings, ...warnings] };
}

function withId(argv: string[], flag: string, value: string | undefined): string[] {
  const isGiven = argv.some((arg) => arg === flag || arg.startsWith(`${flag}=`));
  return value === undefined || value === '' || isGiven ? argv : [...argv, `${flag}=${value}`];
}
