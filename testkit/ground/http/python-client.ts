import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram } from '../../processes/process.ts';
import { cacheDirectory, cacheKey, type Missing } from '../cache.ts';
import type { Report } from '../go-build.ts';

/** The Kubernetes client for Python and the packages that it needs, at the versions that were tested. */
const requirements = [
  'kubernetes==34.1.0',
  'websocket-client==1.9.0',
  'urllib3==2.3.0',
  'requests==2.32.5',
  'PyYAML==6.0.3',
];
const installTimeoutMs = 5 * 60_000;
const title = 'the Kubernetes client for Python';

/** The path of a Python interpreter that has the client, or the reason why it is missing. */
export async function findPythonClient(): Promise<string | Missing> {
  const interpreter = await interpreterPath();
  if (existsSync(`${interpreter}.ready`)) return interpreter;
  return { missing: title, reason: 'not installed yet: npm run e2e installs it' };
}

/** Installs the client with pip into a virtual environment in the cache. */
export async function preparePythonClient(report: Report): Promise<string | Missing> {
  const found = await findPythonClient();
  if (typeof found === 'string') return found;
  const interpreter = await interpreterPath();
  report(`installing ${title} ...`);
  const directory = join(interpreter, '..', '..');
  // An interpreter's paths are absolute, so the environment is made where it remains. The last
  // command marks it as complete.
  const steps = [
    ['python3', '-m', 'venv', '--clear', directory],
    [interpreter, '-m', 'pip', 'install', '--quiet', ...requirements],
    ['touch', `${interpreter}.ready`],
  ] as const;
  for (const [command, ...args] of steps) {
    try {
      const { code, output } = await runProgram({ command, args, timeoutMs: installTimeoutMs });
      if (code !== 0) throw new Error(`ended with code ${code}: ${output.slice(-2000)}`);
    } catch (error) {
      return { missing: title, reason: `${command} ${args.join(' ')}: ${String(error)}` };
    }
  }
  return interpreter;
}

async function interpreterPath(): Promise<string> {
  const key = await cacheKey({ texts: requirements, files: [] });
  return join(cacheDirectory(), 'python', `kubernetes-${key}`, 'bin', 'python');
}
