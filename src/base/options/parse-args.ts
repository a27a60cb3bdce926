import { parseArgs } from 'node:util';
import { didYouMean, nearMiss } from './option-problems.ts';
import { argumentOf, type Env, envOf, flagOf, type OptionsTable } from './option-table.ts';

/**
 * The text that a user gave for one option, and its source. `texts` is empty when the option was
 * given with a problem that is already reported.
 */
export interface Given {
  /** `--listen` or `CULVERT_LISTEN`. */
  readonly label: string;
  readonly texts: readonly string[];
}

/**
 * Reads the options and arguments on the command line, by option name. Adds a problem for each
 * unknown flag, missing value and unexpected argument.
 */
export function givenByFlags(
  table: OptionsTable,
  argv: readonly string[],
  problems: string[],
): Map<string, Given> {
  const byName = new Map(
    Object.values(table)
      .filter((option) => !option.envOnly && !option.positional)
      .map((option) => [option.name, option]),
  );
  const flags = [...byName.values()].map(flagOf);
  const positional = Object.values(table).filter((option) => option.positional);
  const given = new Map<string, Given>();
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      [...byName].map(([name, { kind }]) => [
        name,
        { type: kind === 'boolean' ? 'boolean' : 'string' } as const,
      ]),
    ),
    strict: false,
    tokens: true,
  });

  // The argument after an unknown flag is probably its value. It is not reported, because one
  // mistake should give one problem.
  let excusedIndex = -1;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      if (token.index === excusedIndex) continue;
      const option = positional.shift();
      if (option !== undefined) {
        given.set(option.name, { label: argumentOf(option), texts: [token.value] });
        continue;
      }
      problems.push(
        `unexpected argument ${JSON.stringify(token.value)}${didYouMean(token.value, flags)}`,
      );
      continue;
    }
    const option = byName.get(token.name);
    if (option === undefined) {
      problems.push(`unknown option ${token.rawName}${didYouMean(token.rawName, flags)}`);
      excusedIndex = token.index + 1;
      const meant = nearMiss(token.rawName, flags);
      if (meant !== undefined) markMeant(given, meant.slice(2), meant);
      continue;
    }
    const label = flagOf(option);
    const before = given.get(option.name);
    const text = token.value ?? (option.kind === 'boolean' ? 'true' : '');
    // In "--listen --tls-cert x", parseArgs takes the second flag as the value of the first.
    const swallowed = token.inlineValue === false && text.startsWith('--');
    if (text === '' || swallowed) {
      problems.push(`${label} needs a value${swallowed ? `, the next argument is ${text}` : ''}`);
      given.set(option.name, { label, texts: [] });
      if (swallowed) {
        markMeant(given, text.slice(2), text);
        excusedIndex = token.index + 2;
      }
      continue;
    }
    if (before !== undefined && before.texts.length > 0 && !option.repeatable) {
      problems.push(`${label} is given twice, keep one`);
      continue;
    }
    given.set(option.name, { label, texts: [...(before?.texts ?? []), text] });
  }
  return given;
}

// Kubernetes sets such variables in every pod of a namespace that has a Service named
// culvert-something. They are not settings of a user.
const kubernetesServiceEnv =
  /^CULVERT(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/**
 * Reads the options in the environment, by option name. Adds a problem for each CULVERT_ variable
 * that belongs to no option.
 */
export function givenByEnv(table: OptionsTable, env: Env, problems: string[]): Map<string, Given> {
  const byEnv = new Map(
    Object.values(table)
      .filter((option) => option.flagOnly !== true)
      .map((option) => [envOf(option), option]),
  );
  const given = new Map<string, Given>();
  for (const [label, text] of Object.entries(env)) {
    if (!label.startsWith('CULVERT_') || text === undefined || text === '') continue;
    const option = byEnv.get(label);
    if (option === undefined) {
      if (kubernetesServiceEnv.test(label)) continue;
      problems.push(`unknown variable ${label}${didYouMean(label, byEnv.keys())}`);
      const meant = nearMiss(label, byEnv.keys());
      if (meant !== undefined) markMeant(given, byEnv.get(meant)!.name, meant);
      continue;
    }
    const parts = option.repeatable ? text.split(',').map((part) => part.trim()) : [text];
    const texts = parts.filter((part) => part !== '');
    if (texts.length === 0) problems.push(`${label}=${JSON.stringify(text)} names nothing`);
    given.set(option.name, { label, texts });
  }
  return given;
}

/** Treats an option with a misspelled name as given, so that it is not also reported as missing. */
function markMeant(given: Map<string, Given>, name: string, label: string): void {
  if (!given.has(name)) given.set(name, { label, texts: [] });
}
