import { isMissing, type Missing } from './cache.ts';
import {
  debianProgramNames,
  findDebianProgram,
  prepareDebianProgram,
  type DebianProgram,
  type DebianProgramName,
} from './debian-programs.ts';
import {
  findGoPrograms,
  findUpstreamPrograms,
  prepareGoPrograms,
  prepareUpstreamPrograms,
  type GoPrograms,
  type Report,
  type UpstreamPrograms,
  findH2spec,
  prepareH2spec,
  type H2spec,
  findReusableClient,
  prepareReusableClient,
  type ReusableClient,
} from './go-programs.ts';
import { findUpstreamTests, prepareUpstreamTests, type UpstreamTests } from './upstream-tests.ts';
import { apiServerPrograms, preparePrograms } from './kubernetes/programs.ts';

export { isMissing, type Missing } from './cache.ts';
export type { DebianProgram } from './debian-programs.ts';

const reasonsVariable = 'GROUND_MISSING';

/** Real programs of others. A lookup never builds or downloads; `prepareGround` does so before. */
export const ground = {
  go: async (): Promise<GoPrograms | Missing> => explained(await findGoPrograms()),
  upstream: async (): Promise<UpstreamPrograms | Missing> =>
    explained(await findUpstreamPrograms()),
  upstreamTests: async (): Promise<UpstreamTests | Missing> => explained(await findUpstreamTests()),
  h2spec: async (): Promise<H2spec | Missing> => explained(await findH2spec()),
  reusableClient: async (): Promise<ReusableClient | Missing> =>
    explained(await findReusableClient()),
  debian: async (name: DebianProgramName): Promise<DebianProgram | Missing> =>
    explained(await findDebianProgram(name)),
};

/**
 * The real programs that each suite of tests needs. A suite that comes later needs those of the
 * earlier ones, too.
 */
export const groundSuites = ['quick', 'bench', 'full'] as const;
export type GroundSuite = (typeof groundSuites)[number];

/**
 * Builds and fetches what is not in the cache yet. Reports in one line each what it does and what
 * stays missing.
 *
 * @param suite `quick` takes a minute on an empty cache, `bench` three, `full` up to
 *   a quarter of an hour
 */
export async function prepareGround(
  suite: GroundSuite,
  report: Report,
): Promise<readonly Missing[]> {
  const [goPrograms, debianPrograms] = await Promise.all([
    prepareGoPrograms(report),
    prepareDebianPrograms(report),
  ]);
  const results: (object | Missing)[] = [goPrograms, ...debianPrograms];
  results.push(await prepareH2spec(report));
  if (suite !== 'quick') results.push(await prepareUpstreamPrograms(report));
  if (suite === 'full') {
    results.push(await prepareReusableClient(report));
    results.push(await prepareUpstreamTests(report));
    results.push(await preparePrograms(apiServerPrograms, report));
  }
  const missing = results.filter(isMissing).map(({ missing, reason }) => ({
    missing,
    reason: reason.replaceAll(/\s+/g, ' ').trim(),
  }));
  for (const { missing: what, reason } of missing) report(`missing: ${what}: ${reason}`);
  // Tests run in other processes. Their lookups report this reason instead of "not prepared".
  process.env[reasonsVariable] = JSON.stringify(missing);
  return missing;
}

async function prepareDebianPrograms(report: Report): Promise<readonly (object | Missing)[]> {
  const results: (object | Missing)[] = [];
  // One after the other, because they share apt's package lists.
  for (const name of debianProgramNames) results.push(await prepareDebianProgram(name, report));
  return results;
}

function explained<T extends object>(found: T | Missing): T | Missing {
  if (!isMissing(found)) return found;
  const known = JSON.parse(process.env[reasonsVariable] ?? '[]') as Missing[];
  return known.find(({ missing }) => missing === found.missing) ?? found;
}
