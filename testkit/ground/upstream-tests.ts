import { copyFile, glob, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../processes/process.ts';
import type { Missing } from './cache.ts';
import { buildEnvironment, findGoBuild, type GoBuild, prepareGoBuild } from './go-build.ts';
import { pathsIn, type Report } from './go-programs.ts';

/** Upstream's own tests of a konnectivity server and agent, which run against any programs. */
export interface UpstreamTests {
  /** Takes `-server-path` and `-agent-path` and the flags of a Go test binary. */
  readonly tests: string;
}

const moduleDirectory = fileURLToPath(new URL('upstream-tests', import.meta.url));
const upstreamModule = 'sigs.k8s.io/apiserver-network-proxy';

const build: GoBuild = {
  title: "upstream's tests of konnectivity",
  name: 'upstream-tests',
  moduleDirectory,
  packages: { tests: '.' },
  duration: 'about two minutes',
  makeSources,
};

/** The built tests, or the reason why they are missing. Builds nothing. */
export async function findUpstreamTests(): Promise<UpstreamTests | Missing> {
  return pathsIn(await findGoBuild(build), 'tests');
}

/** Builds the tests if they are missing. */
export async function prepareUpstreamTests(report: Report): Promise<UpstreamTests | Missing> {
  return pathsIn(await prepareGoBuild(build, report), 'tests');
}

/** Puts upstream's test files and our main_test.go, which starts programs, into one package. */
async function makeSources(): Promise<AsyncDisposable & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-upstream-tests-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const copy = async (from: string) => copyFile(from, join(directory, basename(from)));
    const { code, stdout, output } = await runProgram({
      command: 'go',
      args: ['mod', 'download', '-json', upstreamModule],
      cwd: moduleDirectory,
      env: buildEnvironment,
    });
    if (code !== 0) throw new Error(`go mod download ended with code ${code}: ${output}`);
    const { Dir } = JSON.parse(stdout) as { readonly Dir: string };
    for await (const file of glob(join(Dir, 'tests', '*_test.go'))) await copy(file);
    for (const name of ['main_test.go', 'go.mod', 'go.sum']) {
      await rm(join(directory, name), { force: true });
      await copy(join(moduleDirectory, name));
    }
  } catch (error) {
    await remove();
    throw error;
  }
  return { directory, [Symbol.asyncDispose]: remove };
}
