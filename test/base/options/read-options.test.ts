import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/options/option-problems.ts';
import { parseUrl } from '../../../src/base/options/option-parsers.ts';
import { ValueError } from '../../../src/base/value-error.ts';
import { readOptions } from '../../../src/base/options/read-options.ts';
import type { Env, OptionsTable } from '../../../src/base/options/option-table.ts';
import { Secret } from '../../../src/base/secret.ts';

const folder = mkdtempSync(join(tmpdir(), 'culvert-options-'));
const file = join(folder, 'ca.pem');
writeFileSync(file, 'x');
afterAll(() => rmSync(folder, { recursive: true }));

const table = {
  listen: { name: 'listen', kind: 'hostPort', default: '127.0.0.1:8080', help: '' },
  brokerUrl: { name: 'broker-url', kind: 'url', protocols: ['ws:', 'wss:'], help: '' },
  cluster: { name: 'cluster', kind: 'dnsLabel', help: '' },
  drainTimeoutMs: { name: 'drain-timeout', kind: 'durationMs', default: '30s', help: '' },
  buffer: { name: 'buffer', kind: 'bytes', default: '64KiB', help: '' },
  acceptRate: { name: 'accept-rate', kind: 'integer', min: 1, max: 1000, default: '200', help: '' },
  verbose: { name: 'verbose', kind: 'boolean', help: '' },
  caFile: { name: 'ca-file', kind: 'file', help: '' },
  allow: { name: 'allow', kind: 'string', repeatable: true, help: '' },
  logLevel: {
    name: 'log-level',
    kind: 'choice',
    choices: ['info', 'debug'],
    default: 'info',
    help: '',
  },
  token: { name: 'token', kind: 'string', secret: true, envOnly: true, help: '' },
  id: {
    name: 'id',
    kind: 'string',
    default: { help: 'made', make: () => 'made-up' },
    help: '',
  },
} as const satisfies OptionsTable;

const read = (argv: string[], env: Env = {}) => readOptions(table, argv, env).values;

function problemsOf(argv: string[], env: Env = {}, of: OptionsTable = table): readonly string[] {
  try {
    readOptions(of, argv, env);
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.problems;
    throw thrown;
  }
  return [];
}

describe('readOptions', () => {
  it('readOptions returns the defaults, parsed and frozen, when no option is given', () => {
    const values = read([]);
    expect(values).toEqual({
      listen: { host: '127.0.0.1', port: 8080 },
      brokerUrl: undefined,
      cluster: undefined,
      drainTimeoutMs: 30_000,
      buffer: 65_536,
      acceptRate: 200,
      verbose: false,
      caFile: undefined,
      allow: [],
      logLevel: 'info',
      token: undefined,
      id: 'made-up',
    });
    expect(Object.isFrozen(values)).toBe(true);
    expect(Object.isFrozen(values.allow)).toBe(true);
    expect(Object.isFrozen(values.listen)).toBe(true);
  });

  it('readOptions prefers flags over the environment and the environment over defaults', () => {
    const env = { CULVERT_DRAIN_TIMEOUT: '5s', CULVERT_ACCEPT_RATE: '7' };
    const values = read(['--drain-timeout', '500ms'], env);
    expect(values.drainTimeoutMs).toBe(500);
    expect(values.acceptRate).toBe(7);
    expect(values.logLevel).toBe('info');
  });

  it('readOptions reads each kind of value', () => {
    const values = read(
      [
        '--listen=[::1]:0',
        '--broker-url=wss://hub.example/base',
        '--cluster=1st',
        '--buffer=16MiB',
        '--verbose',
        `--ca-file=${file}`,
        '--log-level=debug',
        '--drain-timeout=2m',
        '--allow=a:1',
        '--allow',
        'b:2',
      ],
      { CULVERT_TOKEN: 'sesame' },
    );
    expect(values.listen).toEqual({ host: '::1', port: 0 });
    expect(values.brokerUrl?.href).toBe('wss://hub.example/base');
    expect(values.cluster).toBe('1st');
    expect(values.buffer).toBe(16 * 1024 * 1024);
    expect(values.verbose).toBe(true);
    expect(values.caFile).toBe(file);
    expect(values.logLevel).toBe('debug');
    expect(values.drainTimeoutMs).toBe(120_000);
    expect(values.allow).toEqual(['a:1', 'b:2']);
    expect(values.token).toBeInstanceOf(Secret);
    expect(values.token?.reveal()).toBe('sesame');
  });

  it('readOptions splits a repeatable variable at commas, and a flag replaces the whole list', () => {
    const env = { CULVERT_ALLOW: 'a:1, b:2,' };
    expect(read([], env).allow).toEqual(['a:1', 'b:2']);
    expect(read(['--allow', 'c:3'], env).allow).toEqual(['c:3']);
    expect(problemsOf([], { CULVERT_ALLOW: ',' })).toEqual(['CULVERT_ALLOW="," names nothing']);
  });

  it('readOptions treats an empty variable as not set', () => {
    expect(read([], { CULVERT_LISTEN: '', CULVERT_TOKEN: '' })).toEqual(read([]));
  });

  it('readOptions reports all problems together, each with its value and the next step', () => {
    const problems = problemsOf(
      ['--drain-timeout=10', '--accept-rate', '0', '--ca-file', join(folder, 'none'), 'stray'],
      { CULVERT_LISTEN: 'localhost', CULVERT_CLUSTER: 'Not_A_Label', CULVERT_BUFFER: '12' },
    );
    expect(problems).toEqual([
      'unexpected argument "stray"',
      'CULVERT_LISTEN="localhost" needs a port (127.0.0.1:8080, [::1]:8080)',
      'CULVERT_CLUSTER="Not_A_Label" is not a DNS label (lower case letters, digits and inner hyphens, at most 63)',
      '--drain-timeout="10" needs a unit (10s, 500ms)',
      'CULVERT_BUFFER="12" needs a unit (64KiB, 16MiB)',
      '--accept-rate="0" is too small, at least 1',
      `--ca-file="${join(folder, 'none')}" cannot be read: no such file`,
    ]);
    expect(new ConfigError(problems).message).toMatch(/^7 problems: unexpected argument "stray"; /);
    expect(new ConfigError(['a']).message).toBe('1 problem: a');
  });

  it('readOptions suggests the option that a misspelled flag or variable means, and does not report it as missing', () => {
    const required = { brokerUrl: { ...table.brokerUrl, required: true } } as const;
    expect(problemsOf(['--brokr-url', 'ws://x'], {}, required)).toEqual([
      'unknown option --brokr-url, did you mean --broker-url?',
    ]);
    expect(problemsOf([], { CULVERT_BROKRE_URL: 'ws://x' }, required)).toEqual([
      'unknown variable CULVERT_BROKRE_URL, did you mean CULVERT_BROKER_URL?',
    ]);
    expect(problemsOf(['--frobnicate'])).toEqual(['unknown option --frobnicate']);
    expect(problemsOf(['-x'])).toEqual(['unknown option -x']);
    expect(problemsOf(['--log-level', 'inof'])).toEqual([
      '--log-level="inof" is none of info, debug, did you mean info?',
    ]);
  });

  it('readOptions reports each required option and how to set it', () => {
    const required = { brokerUrl: { ...table.brokerUrl, required: true } } as const;
    expect(problemsOf([], {}, required)).toEqual([
      '--broker-url is required (or CULVERT_BROKER_URL)',
    ]);
  });

  it('readOptions does not take a flag as the value of the flag before it', () => {
    expect(problemsOf(['--listen', '--cluster', 'c1'])).toEqual([
      '--listen needs a value, the next argument is --cluster',
    ]);
    expect(problemsOf(['--listen'])).toEqual(['--listen needs a value']);
    expect(problemsOf(['--listen='])).toEqual(['--listen needs a value']);
  });

  it('readOptions refuses an option that is given twice and is not repeatable', () => {
    expect(problemsOf(['--cluster', 'a', '--cluster', 'b'])).toEqual([
      '--cluster is given twice, keep one',
    ]);
  });

  it.each([
    ['--listen', '127.0.0.1:65536', 'has a port above 65535'],
    ['--listen', '::1:80', 'is not HOST:PORT'],
    ['--broker-url', 'localhost:8080', 'is not a URL that starts with ws:// or wss://'],
    ['--broker-url', 'https://x', 'is not a URL that starts with ws:// or wss://'],
    ['--drain-timeout', '1e3s', 'is not a duration'],
    ['--drain-timeout', '600h', 'is too long, at most 596h'],
    ['--buffer', '1.5MiB', 'is not a size'],
    ['--accept-rate', '0x10', 'is not a whole number'],
    ['--accept-rate', '1001', 'is too large, at most 1000'],
    ['--verbose', '=maybe', 'is neither true nor false'],
    ['--ca-file', tmpdir(), 'is a directory, a file is needed'],
  ])('readOptions reports a problem with %s %s', (flag, text, message) => {
    const argv = text.startsWith('=') ? [`${flag}${text}`] : [flag, text];
    expect(problemsOf(argv)).toEqual([expect.stringContaining(message)]);
  });

  it('readOptions does not repeat a credential in a problem', () => {
    const problems = problemsOf(['--broker-url', 'wss://me:hunter2@hub']);
    expect(problems).toEqual([
      '--broker-url="wss://[redacted]@hub" carries a user or password; credentials do not belong into a URL',
    ]);
    // A token has no flag, because the list of processes would show it.
    expect(problemsOf(['--token', 'sesame'])).toEqual(['unknown option --token']);
  });

  it('readOptions ignores the variables that Kubernetes sets for a Service named culvert-something', () => {
    expect(
      problemsOf([], {
        CULVERT_PORT: 'tcp://10.0.0.1:80',
        CULVERT_SERVICE_HOST: '10.0.0.1',
        CULVERT_BROKER_SERVICE_HOST: '10.0.0.1',
        CULVERT_BROKER_SERVICE_PORT_HTTPS: '443',
        CULVERT_BROKER_PORT: 'tcp://10.0.0.1:443',
        CULVERT_BROKER_PORT_443_TCP_ADDR: '10.0.0.1',
      }),
    ).toEqual([]);
  });

  it("readOptions adds the problems of a program's check to the same list", () => {
    const readWithCheck = (argv: string[]) =>
      readOptions(table, argv, { CULVERT_CLUSTER: 'c1' }, ({ given, label, problem, warn }) => {
        if (given('caFile'))
          problem(`${label('caFile')} and ${label('cluster')} do not go together`);
        warn('mind the gap');
      });
    expect(readWithCheck([]).warnings).toEqual(['mind the gap']);
    expect(() => readWithCheck(['--ca-file', '/none', '--accept-rate', 'x'])).toThrow(
      expect.objectContaining({
        problems: [
          '--accept-rate="x" is not a whole number',
          '--ca-file="/none" cannot be read: no such file',
          '--ca-file and CULVERT_CLUSTER do not go together',
        ],
      }) as Error,
    );
  });
});

it.each([
  // Kubernetes expands `wss://$(POD_IP):8091` to these texts.
  ['wss://fd00:10:244::5:8091', 'wss://[fd00:10:244::5]:8091/'],
  ['wss://::1:8091/path', 'wss://[::1]:8091/path'],
  ['wss://10.244.0.5:8091', 'wss://10.244.0.5:8091/'],
  ['wss://[fd00::5]:8091', 'wss://[fd00::5]:8091/'],
])('parseUrl reads the URL %s as %s', (given, url) => {
  expect(parseUrl(given, ['wss:']).href).toBe(url);
});

it.each(['wss://fd00::5:x', 'wss://1:2:3:8091'])('parseUrl refuses %s', (given) => {
  expect(() => parseUrl(given, ['wss:'])).toThrow(ValueError);
});
