// npm run check [-- STEP...]: everything that can be checked without running the code. All steps run, or those that are named.
// A failure does not stop the others.
import { spawnSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}

const steps: readonly Step[] = [
  { name: 'format', command: ['oxfmt', '--check'] },
  {
    name: 'lint',
    command: [
      'oxlint',
      '--type-aware',
      '--deny-warnings',
      'src',
      'test',
      'testkit',
      'bench',
      'demo',
      'examples',
      'scripts',
      'vitest.config.ts',
    ],
  },
  { name: 'rules', command: ['node', 'scripts/source-rules/main.ts'] },
  { name: 'versions', command: ['node', 'scripts/check-versions.ts'] },
  { name: 'types', command: ['tsc', '-p', 'tsconfig.json'] },
  { name: 'types of the portable parts', command: ['tsc', '-p', 'tsconfig.portable.json'] },
  { name: 'dead code', command: ['knip'] },
  { name: 'the Worker', command: ['node', 'scripts/check-edge.ts'] },
];

const projectDirectory = fileURLToPath(new URL('..', import.meta.url));
const names = process.argv.slice(2);
const chosen = steps.filter(({ name }) => names.length === 0 || names.includes(name));
const failed = chosen.filter((step) => !passes(step));
appendTo('TEST_COUNTS_FILE', `${chosen.length - failed.length} ${failed.length} 0\n`);
appendTo('TEST_FAILURES_FILE', failed.map(({ name }) => `failed: check: ${name}\n`).join(''));
if (chosen.length === 0) {
  console.error(
    `check: there is no such step; there are ${steps.map(({ name }) => name).join(', ')}`,
  );
  process.exitCode = 2;
}
if (failed.length > 0) {
  console.error(`check failed: ${failed.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}

function passes({ name, command: [program, ...args] }: Step): boolean {
  const startedAt = performance.now();
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: projectDirectory,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  if (status === 0) {
    console.log(`ok    ${name} (${seconds} s)`);
    return true;
  }
  console.log(`FAIL  ${name} (${seconds} s): ${[program, ...args].join(' ')}`);
  console.log(error ? error.message : `${stdout}${stderr}`);
  return false;
}

function appendTo(variable: string, text: string): void {
  const file = process.env[variable];
  if (file !== undefined) appendFileSync(file, text);
}
