import { didYouMean } from '../../base/options/option-problems.ts';
import { processTable } from '../../base/options/process-options.ts';
import { valueAmong } from '../../base/options/read-options.ts';
import type { FieldProblem, TextCheck } from '../api/field-problem.ts';

/** A flag of `culvert broker` or `culvert agent`, without its dashes. */
export interface ProgramFlag {
  readonly name: string;
  readonly value: string;
}

/**
 * The `--drain-timeout` among the flags of a broker or an agent, or the default of that option, in
 * milliseconds.
 */
export function drainTimeoutMs(flags: readonly ProgramFlag[]): number {
  const texts = flags.map(({ name, value }) => [name, value] as const);
  return valueAmong(processTable.drainTimeoutMs, texts);
}

/** The result of reading an `additionalArgs` list. */
export type AdditionalArgs = Readonly<ReturnType<typeof nothingRead>>;

/** How a flag of konnectivity's programs, or of culvert, is handled. */
export type FlagRule =
  | {
      readonly kind: 'mapped';
      /** Returns culvert's flag. Undefined when this value needs no flag. */
      readonly to: (value: string) => ProgramFlag | undefined;
      /** Returns the problem with a value as a predicate, to follow the value in a message. */
      readonly check: TextCheck;
    }
  | {
      readonly kind: 'ignored';
      readonly reason: string;
      /** Returns the problem with a value that is refused instead of ignored. */
      readonly check?: TextCheck;
    }
  | { readonly kind: 'refused'; readonly reason: string };

/** Rules by the name of the flag, without its dashes. */
export type FlagRules = Readonly<Record<string, FlagRule>>;

/** Reads an `additionalArgs` list with a table of rules. `field` is the list's path. */
export function readAdditionalArgs(args: readonly string[], rules: FlagRules, field: string) {
  const read = nothingRead();
  for (const { at, text, flag } of goFlags(args)) {
    const itemField = `${field}[${at}]`;
    const sentence = `is ${JSON.stringify(text)}, a flag is needed: --name=value`;
    if (flag === undefined) read.problems.push({ field: itemField, sentence });
    else take(read, rules, { ...flag, field: itemField });
  }
  return read;
}

/**
 * Takes the flags that have a rule out of a command line. `rest` holds the other arguments, for the
 * program itself. In problems, the field is the flag.
 */
export function takeFlags(argv: readonly string[], rules: FlagRules) {
  const read = nothingRead();
  const rest: string[] = [];
  for (const { at, end, flag } of goFlags(argv)) {
    if (flag !== undefined && Object.hasOwn(rules, flag.name)) {
      take(read, rules, { ...flag, field: `--${flag.name}` });
    } else {
      rest.push(...argv.slice(at, end));
    }
  }
  return { ...read, rest };
}

/**
 * Splits arguments like Go's flag package: one dash or two; the value may be the next argument; a
 * flag without a value is a switch.
 */
function* goFlags(args: readonly string[]) {
  for (let at = 0, end = 0; at < args.length; at = end) {
    const text = args[at]!;
    const match = /^--?([A-Za-z][\w-]*)(?:=([^]*))?$/.exec(text);
    const next = args[at + 1];
    const isSwitch = next === undefined || next.startsWith('-');
    end = at + (match === null || match[2] !== undefined || isSwitch ? 1 : 2);
    const flag = match && { name: match[1]!, value: match[2] ?? (isSwitch ? 'true' : next) };
    // `end` is the index of the argument after this flag and its value.
    yield { at, end, text, flag: flag ?? undefined };
  }
}

const nothingRead = () => ({
  flags: [] as ProgramFlag[],
  /** Flags that have no effect here. They are accepted. */
  ignored: [] as FieldProblem[],
  /** Flags that would break what another field sets, and unknown flags. */
  problems: [] as FieldProblem[],
});

function take(
  read: AdditionalArgs,
  rules: FlagRules,
  { name, value, field }: { name: string; value: string; field: string },
): void {
  const rule = Object.hasOwn(rules, name) ? rules[name]! : undefined;
  const refuse = (sentence: string) => read.problems.push({ field, sentence });
  if (rule === undefined) {
    const known = Object.keys(rules).map((name) => `--${name}`);
    refuse(`--${name} is unknown${didYouMean(`--${name}`, known) || ', remove it'}`);
    return;
  }
  const problem = rule.kind === 'refused' ? undefined : rule.check?.(value);
  if (rule.kind === 'refused') refuse(`--${name} is not possible: ${rule.reason}; remove it`);
  else if (problem !== undefined) refuse(`--${name}=${value} ${problem}`);
  else if (rule.kind === 'ignored') {
    read.ignored.push({ field, sentence: `--${name}: ${rule.reason}` });
  } else {
    const flag = rule.to(value);
    if (flag !== undefined) read.flags.push(flag);
  }
}
