import { nearMiss } from '../../base/options/option-problems.ts';
import type { FieldProblem, TextCheck } from '../api/field-problem.ts';

/** A flag of `culvert broker` or `culvert agent`, without its dashes. */
export interface ProgramFlag {
  readonly name: string;
  readonly value: string;
}

/** What became of an `additionalArgs` list. */
export type AdditionalArgs = Readonly<ReturnType<typeof nothingRead>>;

/** What a flag of konnectivity's programs, or of ours, comes to. */
export type FlagRule =
  | {
      readonly fate: 'mapped';
      /** Our flag; undefined where this value asks for nothing. */
      readonly to: (value: string) => ProgramFlag | undefined;
      /** What is wrong with a value, to be put after it. */
      readonly check: TextCheck;
      readonly says: string;
    }
  | {
      readonly fate: 'ignored';
      readonly why: string;
      /** Only such values are; others are refused. */
      readonly check?: TextCheck;
    }
  | { readonly fate: 'refused'; readonly why: string };

/** Rules by the name of the flag. */
export type FlagRules = Readonly<Record<string, FlagRule>>;

/** Reads an `additionalArgs` list by one of the tables above. `field` is the list's path. */
export function readAdditionalArgs(
  args: readonly string[],
  rules: FlagRules,
  field: string,
): AdditionalArgs {
  const read = nothingRead();
  for (const { at, text, flag } of goFlags(args)) {
    const place = `${field}[${at}]`;
    if (flag !== undefined) {
      take(read, rules, { ...flag, place });
      continue;
    }
    const sentence = `is ${JSON.stringify(text)}, a flag is needed: --name=value`;
    read.problems.push({ field: place, sentence });
  }
  return read;
}

/** Takes the flags that `rules` know out of a command line; `rest` is for its program. Fields are the flags. */
export function takeFlags(
  argv: readonly string[],
  rules: FlagRules,
): AdditionalArgs & { readonly rest: readonly string[] } {
  const read = nothingRead();
  const rest: string[] = [];
  for (const { at, end, flag } of goFlags(argv)) {
    if (flag !== undefined && Object.hasOwn(rules, flag.name)) {
      take(read, rules, { ...flag, place: `--${flag.name}` });
    } else {
      rest.push(...argv.slice(at, end));
    }
  }
  return { ...read, rest };
}

interface GoFlag {
  readonly at: number;
  /** Where the next one is. */
  readonly end: number;
  readonly text: string;
  /** Undefined: it is none. */
  readonly flag: ProgramFlag | undefined;
}

/** As Go reads flags: one dash or two; the value may be the next argument; without one the flag is a switch. */
function* goFlags(args: readonly string[]): Generator<GoFlag> {
  for (let at = 0, end = 0; at < args.length; at = end) {
    const text = args[at]!;
    const match = /^--?([A-Za-z][\w-]*)(?:=([^]*))?$/.exec(text);
    const next = args[at + 1];
    const isSwitch = next === undefined || next.startsWith('-');
    end = at + (match === null || match[2] !== undefined || isSwitch ? 1 : 2);
    const flag = match && { name: match[1]!, value: match[2] ?? (isSwitch ? 'true' : next) };
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
  { name, value, place }: { name: string; value: string; place: string },
): void {
  const rule = Object.hasOwn(rules, name) ? rules[name]! : undefined;
  const refuse = (sentence: string) => read.problems.push({ field: place, sentence });
  if (rule === undefined) {
    const near = nearMiss(
      `--${name}`,
      Object.keys(rules).map((known) => `--${known}`),
    );
    refuse(`--${name} is unknown${near === undefined ? ', remove it' : `, did you mean ${near}?`}`);
    return;
  }
  if (rule.fate === 'refused') {
    refuse(`--${name} is not possible: ${rule.why}; remove it`);
    return;
  }
  const wrong = rule.check?.(value);
  if (wrong !== undefined) {
    refuse(`--${name}=${value} ${wrong}`);
  } else if (rule.fate === 'ignored') {
    read.ignored.push({ field: place, sentence: `--${name}: ${rule.why}` });
  } else {
    const flag = rule.to(value);
    if (flag !== undefined) read.flags.push(flag);
  }
}
