// npm run e2e: the end to end tests on the clusters of `npm run ground -- up`. Arguments go to vitest: npm run e2e -- install
// With CI=true it starts the clusters if they do not run, and removes them afterwards.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { groundDown, groundUp } from '../testkit/ground/kubernetes/ground.ts';
import { startedClusters } from '../testkit/ground/kubernetes/state.ts';

const report = (line: string) => console.log(`e2e: ${line}`);
const isOwn = (await startedClusters()).length === 0;
if (isOwn && process.env['CI'] !== 'true') {
  console.error('e2e: no ground is up: npm run ground -- up');
  process.exit(1);
}

try {
  if (isOwn) await groundUp(report);
  const config = ['--config', 'test/e2e-ground/vitest.config.ts'];
  const child = spawn('vitest', ['run', ...config, ...process.argv.slice(2)], { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code] = (await once(child, 'exit')) as [number | null];
  process.exitCode = code ?? 1;
} finally {
  if (isOwn) await groundDown();
}
