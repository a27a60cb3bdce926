// node scripts/run.mjs ENTRY.ts [ARGUMENT...]: installs what is missing, then runs ENTRY on the project's own Node.
import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import { binDirectory, ensureDependencies, projectDirectory } from './ensure-dependencies.mjs';

const [entry, ...args] = process.argv.slice(2);
if (entry === undefined) {
  console.error('usage: node scripts/run.mjs ENTRY.ts [ARGUMENT...]');
  process.exit(2);
}

try {
  ensureDependencies();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

const child = spawn(join(binDirectory, 'node'), [join(projectDirectory, entry), ...args], {
  stdio: 'inherit',
  env: { ...process.env, PATH: `${binDirectory}${delimiter}${process.env.PATH ?? ''}` },
});
// An interrupt from the keyboard reaches the child by itself; a signal sent to this process alone does not.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on('error', (error) => {
  console.error(`cannot start Node for ${entry}: ${error.message}`);
  process.exitCode = 1;
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
});
