import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { defaultTextOf, envOf, flagOf, type Option } from '../../src/base/options/option-table.ts';
import { optionsOf } from '../../src/cli/command.ts';
import { commands } from '../../src/cli/commands.ts';
import { usageOf } from '../../src/cli/help.ts';
import { cli } from './captured-cli.ts';

describe('culvert', () => {
  it.each([[['--help']], [['help']], [['-h']]])(
    'culvert lists its commands for %j',
    async (argv) => {
      const { code, stdout } = await cli(argv);
      expect(code).toBe(0);
      const width = Math.max(...commands.map(({ name }) => name.length));
      for (const { name, summary } of commands)
        expect(stdout).toContain(`${name.padEnd(width)}  ${summary}`);
    },
  );

  it('culvert without a command shows the list of commands on stderr, and exits 2', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Usage: culvert COMMAND');
  });

  it('culvert prints the version of package.json', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(await cli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each([
    [['brokr'], 'culvert: unknown command "brokr", did you mean broker?\n'],
    [['frobnicate', '--help'], 'culvert: unknown command "frobnicate"\n'],
    [['token', 'agnt'], 'culvert: unknown command "token agnt", did you mean token agent?\n'],
    [['token'], 'culvert token is followed by one of: keygen, agent, dialer, gateway\n'],
    [['token', '--help'], 'culvert token is followed by one of: keygen, agent, dialer, gateway\n'],
  ])('culvert answers %j with a suggestion', async (argv, message) => {
    const { code, stderr } = await cli(argv);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/Try: culvert .*--help\n$/);
  });

  it('culvert reports every problem with the options of a command, and exits 2', async () => {
    const argv = ['agent', '--brokr-url', 'ws://x', '--drain-timeout', '10'];
    expect(await cli(argv, { CULVERT_ALOW: 'x' })).toEqual({
      code: 2,
      stdout: '',
      stderr: [
        'culvert agent: 4 problems with its options',
        '  - unknown variable CULVERT_ALOW, did you mean CULVERT_ALLOW?',
        '  - unknown option --brokr-url, did you mean --broker-url?',
        '  - --cluster is required (or CULVERT_CLUSTER)',
        '  - --drain-timeout="10" needs a unit (10s, 500ms)',
        'Try: culvert agent --help',
        '',
      ].join('\n'),
    });
  });

  it('culvert accepts a variable that is an option of another command', async () => {
    const env = { CULVERT_ACCEPT_RATE: '5', CULVERT_ACCEPT_RAT: '5' };
    const { stderr } = await cli(['agent', '--broker-url=wss://x', '--cluster=c1'], env);
    expect(stderr).toBe(
      'culvert agent: a problem with its options\n' +
        '  - unknown variable CULVERT_ACCEPT_RAT\n' +
        'Try: culvert agent --help\n',
    );
  });
});

describe.each(commands.map((command) => [command.name, command] as const))(
  'culvert %s',
  (name, command) => {
    const options: readonly Option[] = Object.values(optionsOf(command));

    it(`culvert ${name} --help explains every option with its variable and default, and shows two examples`, async () => {
      const { code, stdout } = await cli([...name.split(' '), '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain(`Usage: culvert ${name} [OPTIONS]`);
      for (const option of options) {
        expect(stdout).toContain(`\n  ${usageOf(option)}\n`);
        expect(stdout).toContain(option.flagOnly ? flagOf(option) : envOf(option));
        expect(stdout).toContain(defaultTextOf(option) ?? '');
      }
      expect(stdout.match(/^ {2}# /gm)?.length).toBeGreaterThanOrEqual(2);
      expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([]);
    });

    it(`culvert ${name} has every option that its examples use`, () => {
      const flags = new Set(options.map(flagOf));
      for (const { line } of command.examples) {
        const own = line.slice(line.indexOf(`culvert ${name}`)).split(' | ')[0]!;
        for (const [flag] of own.matchAll(/--[a-z-]+/g)) expect(flags).toContain(flag);
      }
    });

    it(`culvert ${name} has no option whose variable Kubernetes could set for a Service`, () => {
      const variables = options.filter(({ flagOnly }) => flagOnly !== true);
      for (const option of variables) expect(envOf(option)).not.toMatch(/_(PORT|SERVICE_HOST)$/);
    });
  },
);
