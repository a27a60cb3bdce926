import { existsSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '../processes/process.ts';
import { cacheDirectory, cacheKey, publish, type Missing } from './cache.ts';

export type Report = (line: string) => void;

/** Go executables that are built together, once, into a directory of the cache. */
export interface GoBuild {
  /** The name in reports and reasons. */
  readonly title: string;
  /** A prefix of its directory in the cache (default: only the key). */
  readonly name?: string;
  /** The directory of go.mod and go.sum. The key depends on every Go file below. */
  readonly moduleDirectory: string;
  /** Name of the executable to the package it is built from. */
  readonly packages: Readonly<Record<string, string>>;
  /** More flags for the linker, besides -s -w. They are part of the key. */
  readonly linkerFlags?: string;
  /** Build tags, separated by commas. They are part of the key. */
  readonly tags?: string;
  /** The report at the beginning of a build. */
  readonly duration: string;
  /** Makes the directory in which a package of tests is built (default: `moduleDirectory`). */
  readonly makeSources?: () => Promise<AsyncDisposable & { readonly directory: string }>;
}

const buildFlags = ['-mod=readonly', '-trimpath', '-buildvcs=false'];
// With these, the build is the same on every machine, whatever its settings.
export const buildEnvironment = { CGO_ENABLED: '0', GOFLAGS: undefined, GOWORK: 'off' };
const buildTimeoutMs = 20 * 60_000;
const progressIntervalMs = 20_000;

/** The directory of the executables, or the reason why it is missing. Builds nothing. */
export async function findGoBuild(build: GoBuild): Promise<string | Missing> {
  const version = await goVersion(build);
  if (version === undefined) return missing(build, 'there is no Go on the PATH');
  const directory = await buildDirectory(build, version);
  return existsSync(directory)
    ? directory
    : missing(build, 'not built yet: npm test and npm run test:full build what they need');
}

/** Builds the missing programs with Go's own module client and the committed go.sum. */
export async function prepareGoBuild(build: GoBuild, report: Report): Promise<string | Missing> {
  const version = await goVersion(build);
  if (version === undefined) return missing(build, 'there is no Go on the PATH');
  const directory = await buildDirectory(build, version);
  try {
    await publish(directory, (partial) => buildInto(partial, build, version, report));
    return directory;
  } catch (error) {
    return missing(build, `the build failed: ${String(error)}`);
  }
}

async function buildInto(
  directory: string,
  build: GoBuild,
  version: string,
  report: Report,
): Promise<void> {
  report(`building ${build.title} with ${version}, ${build.duration} the first time ...`);
  const startedAt = Date.now();
  const elapsed = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  const progress = setInterval(() => report(`still building, ${elapsed()}`), progressIntervalMs);
  try {
    await using made = await build.makeSources?.();
    const command = made === undefined ? ['build'] : ['test', '-c'];
    for (const [name, path] of Object.entries(build.packages)) {
      const linker = `-ldflags=-s -w ${build.linkerFlags ?? ''}`.trimEnd();
      const tags = build.tags === undefined ? [] : [`-tags=${build.tags}`];
      const { code, output } = await runProgram({
        command: 'nice',
        args: ['go', ...command, ...buildFlags, ...tags, linker, '-o', join(directory, name), path],
        cwd: made?.directory ?? build.moduleDirectory,
        env: buildEnvironment,
        timeoutMs: buildTimeoutMs,
      });
      if (code !== 0) {
        throw new Error(
          `go ${command.join(' ')} ${path} ended with code ${code}: ${output.slice(-2000)}`,
        );
      }
    }
  } finally {
    clearInterval(progress);
  }
  report(`built ${build.title} in ${elapsed()}`);
}

async function buildDirectory(build: GoBuild, version: string): Promise<string> {
  const { moduleDirectory, name, linkerFlags, tags } = build;
  const files = [join(moduleDirectory, 'go.mod'), join(moduleDirectory, 'go.sum')];
  for await (const source of glob('**/*.go', { cwd: moduleDirectory })) {
    files.push(join(moduleDirectory, source));
  }
  const texts = [
    version,
    process.arch,
    ...[linkerFlags, tags].filter((text) => text !== undefined),
  ];
  const key = await cacheKey({ texts, files });
  return join(cacheDirectory(), 'go', name === undefined ? key : `${name}-${key}`);
}

async function goVersion({ moduleDirectory }: GoBuild): Promise<string | undefined> {
  try {
    const options = { command: 'go', args: ['env', 'GOVERSION'], cwd: moduleDirectory };
    const { code, stdout } = await runProgram({ ...options, env: buildEnvironment });
    return code === 0 ? stdout.trim() : undefined;
  } catch {
    return undefined;
  }
}

function missing({ title }: GoBuild, reason: string): Missing {
  return { missing: title, reason };
}
