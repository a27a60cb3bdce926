import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../testkit/processes/process.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const copied = [
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  '.oxlintrc.json',
  'README.md',
];
const folders = ['src', 'scripts', 'charts', 'docs'];

describe('npm run check', () => {
  let copy: string;

  /** What each changed file of the copy was before; undefined where there was none. */
  const before = new Map<string, string | undefined>();

  // The project without its tests, in a folder of its own.
  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), 'culvert-check-'));
    for (const path of [...copied, ...folders]) {
      await cp(join(root, path), join(copy, path), { recursive: true });
    }
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  });
  afterEach(async () => {
    for (const [path, text] of before) {
      await (text === undefined ? rm(join(copy, path)) : writeFile(join(copy, path), text));
    }
    before.clear();
  });
  afterAll(() => rm(copy, { recursive: true, force: true }));

  /** Runs one step in the copy, and returns what it printed when it failed; undefined when it passed. */
  async function failureOf(step: string): Promise<string | undefined> {
    const { code, output } = await runProgram({
      command: process.execPath,
      args: [join(copy, 'scripts/check.ts'), step],
      cwd: copy,
      env: {
        TEST_COUNTS_FILE: undefined,
        TEST_FAILURES_FILE: undefined,
        PATH: `${root}/node_modules/.bin:${process.env['PATH']}`,
      },
      timeoutMs: 120_000,
    });
    return code === 0 ? undefined : output;
  }

  async function plant(path: string, text: string): Promise<void> {
    const file = join(copy, path);
    if (!before.has(path)) before.set(path, await readFile(file, 'utf8').catch(() => undefined));
    await writeFile(file, text);
  }

  it('finds one version in the project as it is', async () => {
    expect(await failureOf('versions')).toBeUndefined();
  });

  it.each([
    [
      'the tunnel from the broker',
      'tunnel',
      '../broker/relay.ts',
      /tunnel may not import src\/broker/,
    ],
    [
      'a program from another',
      'agent',
      '../addon/addon.ts',
      /src\/agent may not import src\/addon/,
    ],
    ['Node in a portable room', 'tunnel', 'node:fs', /src\/tunnel is portable/],
    [
      'a package in a foreign room',
      'agent',
      'ioredis',
      /only src\/broker\/redis imports the package ioredis/,
    ],
    ['a package that the table does not name', 'base', 'left-pad', /left-pad has no place in src/],
    ['a test', 'base', '../../test/docs.test.ts', /src\/base may not import test/],
  ])('refuses an import of %s', async (_what, room, specifier, message) => {
    await plant(`src/${room}/planted.ts`, `import type * as planted from '${specifier}';\n`);
    const failure = await failureOf('rules');
    expect(failure).toMatch(message);
    expect(failure).toContain(`src/${room}/planted.ts:1`);
  });

  it('refuses a forbidden import that is written as import()', async () => {
    const late = (specifier: string) => `export const late = () => import('${specifier}');\n`;
    await plant('src/tunnel/planted.ts', late('../cli/run.ts'));
    expect(await failureOf('rules')).toMatch(
      /src\/tunnel\/planted\.ts:1: .* may not import src\/cli/,
    );
  });

  it('refuses a cycle of type imports inside a room', async () => {
    await plant(
      'src/kube/one.ts',
      "import type { Two } from './two.ts';\nexport type One = Two[];\n",
    );
    await plant(
      'src/kube/two.ts',
      "import type { One } from './one.ts';\nexport type Two = One[];\n",
    );
    expect(await failureOf('rules')).toContain(
      'src/kube/one.ts: imports itself through src/kube/two.ts -> src/kube/one.ts',
    );
  });

  it.each([
    ['a constant', 'const defaultDrainTimeoutMs = 30_000;'],
    ['a constant with a shorter name', 'const defaultDrainMs = 30_000;'],
    ['a fallback', 'const wait = options.drainTimeoutMs ?? 30_000;'],
    ['a default in a pattern', 'const { drainTimeoutMs = 30_000 } = options;'],
  ])("refuses %s that repeats an option's default", async (_what, line) => {
    await plant('src/agent/planted.ts', `${line}\n`);
    expect(await failureOf('rules')).toMatch(
      /src\/agent\/planted\.ts:1: gives a default for the option/,
    );
  });

  it('refuses a source file of more than 300 lines', async () => {
    await plant('src/base/planted.ts', '// a line\n'.repeat(301));
    expect(await failureOf('rules')).toContain('src/base/planted.ts: has 301 lines');
    await plant('src/base/planted.ts', '// a line\n'.repeat(300));
    expect((await failureOf('rules')) ?? '').not.toContain('src/base/planted.ts');
  });

  it('refuses a floating promise', { timeout: 120_000 }, async () => {
    await plant('src/base/planted.ts', 'export function lost(): void {\n  fetch("/");\n}\n');
    const failure = await failureOf('lint');
    expect(failure).toContain('src/base/planted.ts');
    expect(failure).toContain('no-floating-promises');
  });

  it.each([
    ['charts/agent/Chart.yaml', /^version: .*$/m, 'version: 9.9.9'],
    ['charts/cluster-proxy/Chart.yaml', /^appVersion: .*$/m, 'appVersion: 9.9.9'],
    ['package-lock.json', /"version": ".*"/, '"version": "9.9.9"'],
    ['README.md', /culvert:v\d+\.\d+\.\d+/, 'culvert:v9.9.9'],
  ])('refuses another version in %s', async (path, pattern, text) => {
    const stated = await readFile(join(copy, path), 'utf8');
    await plant(path, stated.replace(pattern, text));
    expect(await failureOf('versions')).toContain(`${path} says 9.9.9`);
  });
});
