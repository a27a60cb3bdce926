import { existsSync, readFileSync } from 'node:fs';
import { access, constants, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { runProgram, type ProgramOptions } from '../processes/process.ts';
import { cacheDirectory, cacheKey, publish, type Missing } from './cache.ts';
import type { Report } from './go-programs.ts';

/** How to start a program of Debian's; `args` come before the caller's own. */
export interface DebianProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export const debianProgramNames = [
  'redis-server',
  'nginx',
  'tinyproxy',
  'microsocks',
  'nghttp',
  'h2load',
  'curl',
] as const;
export type DebianProgramName = (typeof debianProgramNames)[number];

interface Recipe {
  readonly package: string;
  /** The path of the executable in the package. */
  readonly path: string;
  /** Arguments that print the version, which proves that all libraries are there. */
  readonly versionFlag: string;
  /** The exit code of that (default: 0). */
  readonly versionExitCode?: number;
}

const recipes: Readonly<Record<DebianProgramName, Recipe>> = {
  'redis-server': {
    package: 'redis-server',
    path: 'usr/bin/redis-server',
    versionFlag: '--version',
  },
  nginx: { package: 'nginx', path: 'usr/sbin/nginx', versionFlag: '-v' },
  tinyproxy: { package: 'tinyproxy', path: 'usr/bin/tinyproxy', versionFlag: '-v' },
  // microsocks cannot print a version. An unknown flag makes it print its usage.
  microsocks: {
    package: 'microsocks',
    path: 'usr/bin/microsocks',
    versionFlag: '-h',
    versionExitCode: 1,
  },
  nghttp: { package: 'nghttp2-client', path: 'usr/bin/nghttp', versionFlag: '--version' },
  h2load: { package: 'nghttp2-client', path: 'usr/bin/h2load', versionFlag: '--version' },
  curl: { package: 'curl', path: 'usr/bin/curl', versionFlag: '--version' },
};

const listsMaxAgeMs = 24 * 3600_000;

/** The program on the PATH or in the cache, or the reason of its absence. Downloads nothing. */
export async function findDebianProgram(name: DebianProgramName): Promise<DebianProgram | Missing> {
  const installed = await onPath(name);
  if (installed !== undefined) return { command: installed, args: [], env: {} };
  const root = await unpackedDirectory(name);
  if (!existsSync(root)) return { missing: name, reason: 'not prepared yet: run npm test' };
  return unpackedProgram(name, root);
}

/**
 * Downloads and unpacks the program with what it needs beyond this system, into the cache alone:
 * apt gets its own lists and caches, nothing is installed and no maintainer script runs.
 */
export async function prepareDebianProgram(
  name: DebianProgramName,
  report: Report,
): Promise<DebianProgram | Missing> {
  const found = await findDebianProgram(name);
  if (!('missing' in found)) return found;
  try {
    const root = await unpackedDirectory(name);
    await publish(root, async (partial) => {
      report(`fetching ${name} from Debian ...`);
      await refreshLists(report);
      const { package: packageName, versionFlag, versionExitCode = 0 } = recipes[name];
      await unpack(packageName, partial);
      const { command, env } = unpackedProgram(name, partial);
      await run(command, [versionFlag], { env }, versionExitCode);
    });
    return unpackedProgram(name, root);
  } catch (error) {
    return { missing: name, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Packages of Debian's, unpacked side by side. */
export interface DebianRoot {
  /** The root of the unpacked packages. Packages that this system has are not in it. */
  readonly root: string;
  /** The environment for the programs, and for programs that start them by name. */
  readonly env: { readonly PATH: string; readonly LD_LIBRARY_PATH: string };
}

/** The packages from the cache, or the reason of their absence. Downloads nothing. */
export async function findDebianPackages(
  packages: readonly string[],
): Promise<DebianRoot | Missing> {
  const root = await packagesDirectory(packages);
  const title = packages.join(', ');
  return existsSync(root) ? debianRoot(root) : { missing: title, reason: 'not prepared yet' };
}

/**
 * Downloads and unpacks the packages with what they need beyond this system, into the cache alone,
 * all or nothing.
 */
export async function prepareDebianPackages(
  packages: readonly string[],
  report: Report,
): Promise<DebianRoot | Missing> {
  try {
    const root = await packagesDirectory(packages);
    await publish(root, async (partial) => {
      report(`fetching ${packages.join(', ')} from Debian ...`);
      await refreshLists(report);
      await download(await lackingPackages(packages), partial);
    });
    return debianRoot(root);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { missing: packages.join(', '), reason };
  }
}

/**
 * Downloads and unpacks exactly these packages, whether this system has them or not, into `root`.
 */
export async function unpackDebianPackages(
  packages: readonly string[],
  root: string,
  report: Report,
): Promise<void> {
  await refreshLists(report);
  await download(packages, root);
}

/** apt's settings: its own state in our directory, and the system's list of installed packages. */
function aptOptions(): string[] {
  const apt = join(cacheDirectory(), 'apt');
  const settings = [`Dir::State::lists=${apt}/lists`, `Dir::Cache=${apt}/cache`];
  // As root, apt would download as the user _apt, which may not write here.
  if (process.getuid?.() === 0) settings.push('APT::Sandbox::User=root');
  return [...settings, 'Debug::NoLocking=true'].flatMap((setting) => ['-o', setting]);
}

async function refreshLists(report: Report): Promise<void> {
  const apt = join(cacheDirectory(), 'apt');
  const updated = join(apt, 'lists-updated');
  if (existsSync(updated) && Date.now() - (await stat(updated)).mtimeMs < listsMaxAgeMs) return;
  await mkdir(join(apt, 'lists', 'partial'), { recursive: true });
  await mkdir(join(apt, 'cache', 'archives', 'partial'), { recursive: true });
  report("reading Debian's package lists ...");
  await run('apt-get', [...aptOptions(), '-qq', 'update']);
  await writeFile(updated, '');
}

async function unpack(packageName: string, root: string): Promise<void> {
  const packages = await lackingPackages([packageName]);
  if (packages.length === 0) throw new Error(`apt plans no package for ${packageName}`);
  await download(packages, root);
}

/** The packages that this system does not have, from a simulated installation. */
async function lackingPackages(packages: readonly string[]): Promise<string[]> {
  const plan = await run('apt-get', [
    ...aptOptions(),
    'install',
    '--simulate',
    '--no-install-recommends',
    ...packages,
  ]);
  return [...plan.matchAll(/^Inst (\S+)(?: \[\S+\])? \((\S+)/gm)].map(
    ([, name, version]) => `${name}=${version}`,
  );
}

async function download(packages: readonly string[], root: string): Promise<void> {
  if (packages.length === 0) return;
  const archives = join(root, '.archives');
  await mkdir(archives);
  await run('apt-get', [...aptOptions(), '-qq', 'download', ...packages], { cwd: archives });
  for (const archive of await readdir(archives)) {
    await run('dpkg-deb', ['--extract', join(archives, archive), root]);
  }
  await rm(archives, { recursive: true });
}

async function run(
  command: string,
  args: readonly string[],
  options: Pick<ProgramOptions, 'cwd' | 'env'> = {},
  expectedCode = 0,
): Promise<string> {
  const env = { ...options.env, LC_ALL: 'C' };
  const timeoutMs = 5 * 60_000;
  const { code, output } = await runProgram({ command, args, ...options, env, timeoutMs });
  if (code !== expectedCode)
    throw new Error(`${command} ended with code ${code}: ${output.slice(-1000)}`);
  return output;
}

// Debian keeps only the newest build of a package, so no version can be pinned: the key is the
// release and our recipe.
async function unpackedDirectory(name: DebianProgramName): Promise<string> {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const texts = [release, process.arch, JSON.stringify(recipes[name])];
  return join(cacheDirectory(), 'debian', `${name}-${await cacheKey({ texts, files: [] })}`);
}

async function packagesDirectory(packages: readonly string[]): Promise<string> {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const key = await cacheKey({ texts: [release, process.arch, ...packages], files: [] });
  return join(cacheDirectory(), 'debian', `${packages[0]}-${key}`);
}

function debianRoot(root: string): DebianRoot {
  const directories = ['usr/sbin', 'usr/bin', 'sbin', 'bin'].map((path) => join(root, path));
  return {
    root,
    env: {
      PATH: [...directories, process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(delimiter),
      LD_LIBRARY_PATH: librariesIn(root),
    },
  };
}

function librariesIn(root: string): string {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const libraries = [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib'];
  return libraries.map((path) => join(root, path)).join(':');
}

function unpackedProgram(name: DebianProgramName, root: string): DebianProgram {
  return {
    command: join(root, recipes[name].path),
    args: [],
    env: { LD_LIBRARY_PATH: librariesIn(root) },
  };
}

async function onPath(name: string): Promise<string | undefined> {
  // Debian keeps daemons in sbin, which only root's PATH has.
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  for (const directory of directories) {
    const path = join(directory, name);
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}
