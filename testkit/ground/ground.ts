import { isMissing, type Missing } from './cache.ts';
import {
  debianProgramNames,
  findDebianProgram,
  prepareDebianProgram,
  type DebianProgram,
  type DebianProgramName,
} from './debian-programs.ts';
import { findGoPrograms, prepareGoPrograms, type GoPrograms, type Report } from './go-programs.ts';
import { apiServerPrograms, preparePrograms } from './kubernetes/programs.ts';

export { isMissing, type Missing } from './cache.ts';
export type { DebianProgram } from './debian-programs.ts';
export type { GoPrograms } from './go-programs.ts';

const reasonsVariable = 'GROUND_MISSING';

/** What is real and not ours. Looking up never builds or downloads; `prepareGround` does, once, before the tests. */
export const ground = {
  go: async (): Promise<GoPrograms | Missing> => explained(await findGoPrograms()),
  debian: async (name: DebianProgramName): Promise<DebianProgram | Missing> =>
    explained(await findDebianProgram(name)),
};

/** Builds and fetches what is not in the cache yet. Reports in one line each what it does and what stays missing. */
export async function prepareGround(report: Report): Promise<readonly Missing[]> {
  const results: (object | Missing)[] = [await prepareGoPrograms(report)];
  // One after the other: they share apt's package lists.
  for (const name of debianProgramNames) results.push(await prepareDebianProgram(name, report));
  results.push(await preparePrograms(apiServerPrograms, report));
  const missing = results.filter(isMissing).map(({ missing, reason }) => ({
    missing,
    reason: reason.replaceAll(/\s+/g, ' ').trim(),
  }));
  for (const { missing: what, reason } of missing) report(`missing: ${what}: ${reason}`);
  // The tests run in other processes; there a lookup tells the true reason instead of "not prepared".
  process.env[reasonsVariable] = JSON.stringify(missing);
  return missing;
}

function explained<T extends object>(found: T | Missing): T | Missing {
  if (!isMissing(found)) return found;
  const known = JSON.parse(process.env[reasonsVariable] ?? '[]') as Missing[];
  return known.find(({ missing }) => missing === found.missing) ?? found;
}
