import {
  argumentOf,
  defaultTextOf,
  envOf,
  flagOf,
  type Option,
} from '../base/options/option-table.ts';
import type { Command } from './command.ts';

const width = 96;

/** Placeholders of the kinds. Options of kind `parsed` have placeholders of their own. */
const placeholders: Record<Option['kind'], string> = {
  parsed: 'TEXT',
  string: 'TEXT',
  hostPort: 'HOST:PORT',
  hostWithOptionalPort: 'HOST[:PORT]',
  dnsLabel: 'NAME',
  clusterName: 'NAME',
  file: 'FILE',
  bytes: 'SIZE',
  boolean: '',
  url: 'URL',
  choice: 'WORD',
  destination: 'PATTERN',
  integer: 'N',
  durationMs: 'DURATION',
};

/**
 * The flag with its placeholder (`--listen HOST:PORT`), the argument (`CLUSTER`), or the variable
 * when the option has neither.
 */
export function usageOf(option: Option): string {
  if (option.envOnly) return envOf(option);
  if (option.positional) return argumentOf(option);
  return `${flagOf(option)} ${option.placeholder ?? placeholders[option.kind]}`.trimEnd();
}

/** The output of `culvert`, `culvert help` and `culvert --help`. */
export function overview(commands: readonly Command[]): string {
  const longest = Math.max(...commands.map(({ name }) => name.length));
  return [
    'culvert carries TCP connections into Kubernetes clusters that allow only outbound HTTPS.',
    '',
    'Usage: culvert COMMAND [OPTIONS]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(longest)}  ${summary}`),
    '',
    'Try it on this machine:           culvert dev',
    'Options of a command:             culvert COMMAND --help',
    '',
    'Every option is also an environment variable: --drain-timeout 10s is CULVERT_DRAIN_TIMEOUT=10s.',
    'Flags override the environment, and the environment overrides defaults.',
    '',
  ].join('\n');
}

/** The output of `culvert COMMAND --help`. */
export function commandHelp({ name, about, groups, examples }: Command): string {
  const positional = groups
    .flatMap(({ table }) => Object.values(table))
    .filter((option) => option.positional);
  const usage = [`culvert ${name} [OPTIONS]`, ...positional.map(argumentOf)].join(' ');
  const lines = [`Usage: ${usage}`, '', ...wrap(about, 0)];
  for (const { title, table } of groups) {
    lines.push('', `${title}:`);
    for (const option of Object.values(table)) {
      lines.push(`  ${usageOf(option)}`, ...wrap(option.help, 6), ...wrap(facts(option), 6));
    }
  }
  lines.push('', 'Examples:');
  for (const { title, line } of examples) lines.push(`  # ${title}`, ...fold(line), '');
  return lines.join('\n');
}

function facts(option: Option): string {
  const defaultText = defaultTextOf(option);
  const parts = [
    option.required ? 'required' : '',
    defaultText === undefined ? '' : `default: ${defaultText}`,
    option.repeatable ? 'may be repeated' : '',
    option.envOnly || option.flagOnly
      ? ''
      : `env: ${envOf(option)}${option.repeatable ? ' (separated by commas)' : ''}`,
  ];
  const text = parts.filter((part) => part !== '').join('; ');
  return text === '' ? '' : `[${text}]`;
}

/** Splits a long command line before its flags. Each line except the last ends with a backslash. */
function fold(line: string): string[] {
  if (line.length + 2 <= width) return [`  ${line}`];
  return line
    .split(/ (?=--[a-z])/)
    .map(
      (part, index, parts) =>
        `${index === 0 ? '  ' : '      '}${part}${index < parts.length - 1 ? ' \\' : ''}`,
    );
}

function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ').filter((word) => word !== '')) {
    if (line !== '' && indent + line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  if (line !== '') lines.push(line);
  return lines.map((text) => ' '.repeat(indent) + text);
}
