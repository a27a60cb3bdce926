// npm test and npm run test:full: prepare the real programs that a suite needs, then run the suite.
// Arguments go to vitest: npm test -- test/tunnel
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prepareGround } from '../testkit/ground/ground.ts';
import { suites } from '../vitest.config.ts';

const [suite = '', ...args] = process.argv.slice(2);
if (suite !== 'quick' && suite !== 'full') {
  console.error('usage: scripts/test.ts quick | full [ARGUMENT...]');
  process.exit(2);
}

if (suite === 'quick' && args.some((arg) => arg.endsWith('.full.test.ts'))) {
  console.error('*.full.test.ts belongs to the full suite: npm run test:full -- FILE');
  process.exit(2);
}

await prepareGround(suite, (line) => console.log(`test ground: ${line}`));

const projectDirectory = fileURLToPath(new URL('..', import.meta.url));
const env = {
  ...process.env,
  // Hundreds of processes start from the same sources. With this cache they parse and strip them
  // once.
  NODE_COMPILE_CACHE: join(projectDirectory, 'node_modules/.cache/compiled'),
};
const projects = suites[suite].flatMap((name) => ['--project', name]);
const child = spawn('vitest', ['run', ...projects, ...args], { stdio: 'inherit', env });
process.on('SIGTERM', () => child.kill('SIGTERM'));
const [code] = (await once(child, 'exit')) as [number | null];
process.exitCode = code ?? 1;
