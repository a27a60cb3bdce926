import { nearMiss } from '../../base/option-problems.ts';
import type { FieldProblem, TextCheck } from './field-reader.ts';

/** A flag of `culvert broker` or `culvert agent`, without its dashes. */
export interface ProgramFlag {
  readonly name: string;
  readonly value: string;
}

/** What became of an `additionalArgs` list. */
export interface AdditionalArgs {
  readonly flags: readonly ProgramFlag[];
  /** Flags that mean nothing any more; accepted. */
  readonly ignored: readonly FieldProblem[];
  /** Flags that would change what is promised elsewhere, and unknown ones. */
  readonly problems: readonly FieldProblem[];
}

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
  const read = {
    flags: [] as ProgramFlag[],
    ignored: [] as FieldProblem[],
    problems: [] as FieldProblem[],
  };
  for (let at = 0; at < args.length; at++) {
    const place = `${field}[${at}]`;
    const match = /^--?([A-Za-z][\w-]*)(?:=([^]*))?$/.exec(args[at]!);
    if (match === null) {
      const sentence = `is ${JSON.stringify(args[at])}, a flag is needed: --name=value`;
      read.problems.push({ field: place, sentence });
      continue;
    }
    const name = match[1]!;
    // As Go's flags: the value may be the next argument; without one the flag is a switch.
    const next = args[at + 1];
    const value = match[2] ?? (next === undefined || next.startsWith('-') ? 'true' : args[++at]!);
    take(read, rules, { name, value, place });
  }
  return read;
}

function take(
  read: { flags: ProgramFlag[]; ignored: FieldProblem[]; problems: FieldProblem[] },
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
