// npm run e2e: the end to end tests. Arguments go to vitest: npm run e2e -- install
// `npm run e2e -- egress` runs only the tests of the egress selector, which need root on Linux. With
// --faults it also measures the long table of docs/egress-selector.md.
// `npm run e2e -- http` runs only the real clients of the HTTP plane, which need root on Linux. With
// --minutes 10 the informers of client-go are followed for as long (default 2).
// All other tests run on the clusters of `npm run ground -- up`. With CI=true it starts the clusters
// if they do not run, and removes them afterwards.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { groundDown, groundUp } from '../testkit/ground/kubernetes/ground.ts';
import { startedClusters } from '../testkit/ground/kubernetes/state.ts';

const report = (line: string) => console.log(`e2e: ${line}`);
const [first, ...rest] = process.argv.slice(2);

if (first === 'http') {
  const at = rest.indexOf('--minutes');
  const env = at === -1 ? {} : { E2E_HTTP_MINUTES: rest[at + 1] ?? '' };
  const others = at === -1 ? rest : rest.toSpliced(at, 2);
  process.exitCode = await runVitest('test/e2e-http', others, env);
} else if (first === 'egress') {
  const others = rest.filter((argument) => argument !== '--faults');
  const env = rest.length > others.length ? { E2E_FAULTS: 'all' } : {};
  process.exitCode = await runVitest('test/e2e-egress', others, env);
} else {
  const codes = [await runOnClusters(process.argv.slice(2))];
  // Arguments choose tests of the clusters. A failure does not stop the rest.
  if (first === undefined) {
    codes.push(await runVitest('test/e2e-egress'), await runVitest('test/e2e-http'));
  }
  process.exitCode = codes.find((code) => code !== 0) ?? 0;
}

async function runOnClusters(args: readonly string[]): Promise<number> {
  const isOwn = (await startedClusters()).length === 0;
  if (isOwn && process.env['CI'] !== 'true') {
    console.error('e2e: no ground is up: npm run ground -- up');
    return 1;
  }
  try {
    if (isOwn) await groundUp(report);
    return await runVitest('test/e2e-ground', args);
  } finally {
    if (isOwn) await groundDown();
  }
}

async function runVitest(
  directory: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const config = ['--config', `${directory}/vitest.config.ts`];
  const child = spawn('vitest', ['run', ...config, ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  const stop = () => child.kill('SIGTERM');
  process.on('SIGTERM', stop);
  const [code] = (await once(child, 'exit')) as [number | null];
  process.off('SIGTERM', stop);
  return code ?? 1;
}
