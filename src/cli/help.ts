import { defaultTextOf, envOf, flagOf, type Option } from '../base/options/option-table.ts';
import type { Command } from './command.ts';

const width = 96;

/** By kind. The rows of kind `parsed` have placeholders of their own. */
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

/** `--listen HOST:PORT`, or the variable where there is no flag. */
export function usageOf(option: Option): string {
  if (option.envOnly) return envOf(option);
  return `${flagOf(option)} ${option.placeholder ?? placeholders[option.kind]}`.trimEnd();
}

/** What `culvert`, `culvert help` and `culvert --help` print. */
export function overview(commands: readonly Command[]): string {
  const longest = Math.max(...commands.map(({ name }) => name.length));
  return [
    'culvert carries TCP streams into Kubernetes clusters that only allow outbound HTTPS.',
    '',
    'Usage: culvert COMMAND [OPTIONS]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(longest)}  ${summary}`),
    '',
    'See it work on this machine:      culvert dev',
    'Every option of a command:        culvert COMMAND --help',
    '',
    'An option can also be set in the environment: --drain-timeout 10s is CULVERT_DRAIN_TIMEOUT=10s.',
    'Flags beat the environment, the environment beats defaults.',
    '',
  ].join('\n');
}

/** What `culvert COMMAND --help` prints. */
export function commandHelp({ name, about, groups, examples }: Command): string {
  const lines = [`Usage: culvert ${name} [OPTIONS]`, '', ...wrap(about, 0)];
  for (const { title, table } of groups) {
    lines.push('', `${title}:`);
    for (const option of Object.values(table)) {
      lines.push(`  ${usageOf(option)}`, ...wrap(option.help, 6), ...wrap(facts(option), 6));
    }
  }
  lines.push('', 'Examples:');
  for (const { says, line } of examples) lines.push(`  # ${says}`, ...fold(line), '');
  return lines.join('\n');
}

function facts(option: Option): string {
  const defaultText = defaultTextOf(option);
  const parts = [
    option.required ? 'required' : '',
    defaultText === undefined ? '' : `default: ${defaultText}`,
    option.repeatable ? 'may be repeated' : '',
    option.envOnly ? '' : `env: ${envOf(option)}${option.repeatable ? ' (commas between)' : ''}`,
  ];
  const said = parts.filter((part) => part !== '').join('; ');
  return said === '' ? '' : `[${said}]`;
}

/** A command line too long to read is continued before its flags, as a shell takes it. */
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
