import { existsSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../support/process.ts';
import { cacheDirectory, cacheKey, publish, type Missing } from './cache.ts';

/** Paths of executables built from test/ground/go. */
export interface GoPrograms {
  /** Upstream's konnectivity proxy-server. */
  readonly server: string;
  /** Upstream's konnectivity proxy-agent. */
  readonly agent: string;
  /** Our test client on the unmodified konnectivity-client. */
  readonly client: string;
  /** Our load generator and its targets, on the same client. */
  readonly load: string;
}

export type Report = (line: string) => void;

const moduleDirectory = fileURLToPath(new URL('go', import.meta.url));
const upstream = 'sigs.k8s.io/apiserver-network-proxy/cmd';
const packages = ['./client', './load', `${upstream}/server`, `${upstream}/agent`];
const buildFlags = ['-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags=-s -w'];
// Without these a machine's own settings would decide whether the build is the same everywhere.
const buildEnvironment = { CGO_ENABLED: '0', GOFLAGS: undefined, GOWORK: 'off' };
const buildTimeoutMs = 20 * 60_000;
const progressIntervalMs = 20_000;

/** The built programs, or why they are not there; builds nothing. */
export async function findGoPrograms(): Promise<GoPrograms | Missing> {
  const version = await goVersion();
  if (version === undefined) return missing('there is no Go on the PATH');
  const directory = await buildDirectory(version);
  return existsSync(directory) ? programsIn(directory) : missing('not built yet: run npm test');
}

/** Builds what is not built yet, through Go's own module client and nothing but the committed go.sum. */
export async function prepareGoPrograms(report: Report): Promise<GoPrograms | Missing> {
  const version = await goVersion();
  if (version === undefined) return missing('there is no Go on the PATH');
  const directory = await buildDirectory(version);
  if (!existsSync(directory)) {
    try {
      await publish(directory, (partial) => build(partial, version, report));
    } catch (error) {
      return missing(`the build failed: ${String(error)}`);
    }
  }
  return programsIn(directory);
}

async function build(directory: string, version: string, report: Report): Promise<void> {
  const what = 'upstream proxy-server, proxy-agent and our Go client';
  report(`building ${what} with ${version}, about two minutes the first time ...`);
  const startedAt = Date.now();
  const elapsed = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  const progress = setInterval(() => report(`still building, ${elapsed()}`), progressIntervalMs);
  try {
    const { code, output } = await runProgram({
      command: 'go',
      args: ['build', ...buildFlags, '-o', `${directory}/`, ...packages],
      cwd: moduleDirectory,
      env: buildEnvironment,
      timeoutMs: buildTimeoutMs,
    });
    if (code !== 0) throw new Error(`go build ended with code ${code}: ${output.slice(-2000)}`);
  } finally {
    clearInterval(progress);
  }
  report(`built them in ${elapsed()}`);
}

async function buildDirectory(version: string): Promise<string> {
  const files = [join(moduleDirectory, 'go.mod'), join(moduleDirectory, 'go.sum')];
  for await (const source of glob('**/*.go', { cwd: moduleDirectory })) {
    files.push(join(moduleDirectory, source));
  }
  const key = await cacheKey({ texts: [version, process.arch], files });
  return join(cacheDirectory(), 'go', key);
}

async function goVersion(): Promise<string | undefined> {
  try {
    const options = { command: 'go', args: ['env', 'GOVERSION'], cwd: moduleDirectory };
    const { code, stdout } = await runProgram({ ...options, env: buildEnvironment });
    return code === 0 ? stdout.trim() : undefined;
  } catch {
    return undefined;
  }
}

function programsIn(directory: string): GoPrograms {
  return {
    server: join(directory, 'server'),
    agent: join(directory, 'agent'),
    client: join(directory, 'client'),
    load: join(directory, 'load'),
  };
}

function missing(reason: string): Missing {
  return { missing: 'Go programs', reason };
}
