import { describeError } from '../base/error.ts';
import { ConfigError, didYouMean } from '../base/options/option-problems.ts';
import { version } from '../base/version.ts';
import type { Command, CommandIo } from './command.ts';
import { commands } from './commands.ts';
import { commandHelp, overview } from './help.ts';
import { programEnv } from './program-env.ts';

const exitCode = { ok: 0, failed: 1, misused: 2 } as const;

/**
 * Runs the command line that follows `culvert`. Resolves with the exit code: 1 when the command
 * fails, 2 when it is used wrongly.
 */
export async function runCli(argv: readonly string[], io: CommandIo): Promise<number> {
  if (argv[0] === '--version' || argv[0] === 'version') {
    io.stdout.write(`${version}\n`);
    return exitCode.ok;
  }
  const wantsHelp = argv[0] === 'help' || argv.some((arg) => arg === '--help' || arg === '-h');
  const words = argv.filter((arg) => arg !== 'help' && arg !== '--help' && arg !== '-h');
  const command = findCommand(words);
  if (wantsHelp && (command !== undefined || words.length === 0)) {
    io.stdout.write(command === undefined ? overview(commands) : commandHelp(command));
    return exitCode.ok;
  }
  if (command === undefined) {
    io.stderr.write(words.length === 0 ? overview(commands) : unknownCommand(words));
    return exitCode.misused;
  }
  try {
    const options = argv.slice(command.name.split(' ').length);
    return await command.run(options, { ...io, env: programEnv(command, commands, io.env) });
  } catch (thrown) {
    if (thrown instanceof ConfigError) {
      io.stderr.write(misuse(command, thrown.problems));
      return exitCode.misused;
    }
    io.stderr.write(`culvert ${command.name}: ${describeError(plainly(thrown))}\n`);
    return exitCode.failed;
  }
}

function findCommand(words: readonly string[]): Command | undefined {
  return commands.find(({ name }) => name.split(' ').every((word, index) => words[index] === word));
}

function unknownCommand(words: readonly string[]): string {
  const group = commands.filter(({ name }) => name.startsWith(`${words[0]} `));
  if (group.length > 0) {
    const second = words[1];
    const names = group.map(({ name }) => name);
    const what =
      second === undefined || second.startsWith('-')
        ? `culvert ${words[0]} is followed by one of: ${names.map((name) => name.split(' ')[1]).join(', ')}`
        : `culvert: unknown command "${words[0]} ${second}"${didYouMean(`${words[0]} ${second}`, names)}`;
    return `${what}\nTry: culvert ${names[0]} --help\n`;
  }
  const names = new Set(commands.flatMap(({ name }) => [name, name.split(' ')[0]!]));
  return `culvert: unknown command "${words[0]}"${didYouMean(words[0]!, names)}\nTry: culvert --help\n`;
}

function misuse(command: Command, problems: readonly string[]): string {
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  return [
    `culvert ${command.name}: ${count} with its options`,
    ...problems.map((problem) => `  - ${problem}`),
    `Try: culvert ${command.name} --help`,
    '',
  ].join('\n');
}

/** Explains the most frequent start error, a port in use. Returns any other error unchanged. */
function plainly(thrown: unknown): unknown {
  const { code, address, port } = thrown as NodeJS.ErrnoException & {
    readonly address?: string;
    readonly port?: number;
  };
  if (code !== 'EADDRINUSE') return thrown;
  return new Error(
    `${address}:${port} is in use already, stop what listens there or choose another`,
  );
}
