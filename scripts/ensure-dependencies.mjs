// Plain JavaScript without dependencies: this runs before anything is installed, on whatever Node the machine has.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const projectDirectory = fileURLToPath(new URL('..', import.meta.url));
export const binDirectory = join(projectDirectory, 'node_modules', '.bin');

const recordFile = join(projectDirectory, 'node_modules', '.culvert-lock-hash');

/** Runs `npm ci` unless node_modules already is what package-lock.json says. Throws when it cannot. */
export function ensureDependencies() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(projectDirectory, 'package-lock.json')))
    .digest('hex');
  if (installedHash() === wanted && existsSync(join(binDirectory, 'node'))) return;

  console.log(
    'installing the locked dependencies (npm ci), about half a minute the first time ...',
  );
  // npm replaces node_modules/.bin/node: it has to run on the machine's own Node, not on that one.
  const path = (process.env.PATH ?? '').split(delimiter);
  const { status, error } = spawnSync('npm', ['ci'], {
    cwd: projectDirectory,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      ...process.env,
      PATH: path.filter((entry) => !entry.includes('node_modules')).join(delimiter),
    },
  });
  if (error) throw new Error('npm could not be started: is it on the PATH?', { cause: error });
  if (status !== 0) throw new Error(`npm ci ended with status ${status}; its own words are above`);
  writeFileSync(recordFile, wanted);
}

function installedHash() {
  return existsSync(recordFile) ? readFileSync(recordFile, 'utf8') : undefined;
}
