// Checks the edge part: its types, and the size of wrangler's bundle. A failure does not stop the
// other steps.
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { offlineEnv } from './local-worker.ts';

/** The most that an isolate loads before its first request. The platform allows ten times more. */
const maxGzippedBytes = 300 * 1024;

const projectDirectory = fileURLToPath(new URL('..', import.meta.url));

function run(program: string, ...args: readonly string[]): boolean {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: projectDirectory,
    encoding: 'utf8',
    env: { ...process.env, ...offlineEnv },
  });
  if (status === 0) return true;
  console.error(`${[program, ...args].join(' ')}:\n${error?.message ?? `${stdout}${stderr}`}`);
  return false;
}

function bundleIsSmall(): boolean {
  const directory = mkdtempSync(join(tmpdir(), 'culvert-bundle-'));
  try {
    if (!run('wrangler', 'deploy', '--dry-run', '--outdir', directory)) return false;
    const modules = globSync('**/*.{js,mjs,wasm}', { cwd: directory });
    const bytes = modules.map((name) => gzipSync(readFileSync(join(directory, name))).length);
    const total = bytes.reduce((sum, of) => sum + of, 0);
    const size = `${(total / 1024).toFixed(1)} KiB gzipped in ${modules.length} module(s)`;
    console.log(`the Worker's bundle: ${size}, at most ${maxGzippedBytes / 1024}`);
    return modules.length > 0 && total <= maxGzippedBytes;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const results = [run('tsc', '-p', 'tsconfig.workers.json'), bundleIsSmall()];
if (results.includes(false)) {
  console.error('check of the edge half failed');
  process.exitCode = 1;
}
