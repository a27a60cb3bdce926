import { isSource, type Finding, type SourceFile } from './source-file.ts';

/**
 * Groups of source files that import each other in a circle, type imports included. One finding for
 * each group.
 */
export function cycleFindings(files: readonly SourceFile[]): readonly Finding[] {
  const sources = files.filter(isSource);
  const importsOf = new Map(
    sources.map(({ path, imports }) => [path, imports.flatMap(({ path: to }) => to ?? [])]),
  );
  const groups = new Map<string, Set<string>>();
  for (const path of importsOf.keys()) {
    const group = [...reachableFrom(path, importsOf)]
      .filter((other) => other === path || reachableFrom(other, importsOf).has(path))
      .sort();
    if (group.length > 1) groups.set(group[0]!, new Set(group));
  }
  return [...groups].map(([path, group]) => ({
    path,
    message: `imports itself through ${shortestCycle(path, group, importsOf).join(' -> ')}`,
  }));
}

function reachableFrom(
  start: string,
  importsOf: ReadonlyMap<string, readonly string[]>,
): ReadonlySet<string> {
  const reached = new Set<string>();
  const next = [start];
  for (let path = next.pop(); path !== undefined; path = next.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    next.push(...(importsOf.get(path) ?? []));
  }
  return reached;
}

/** A shortest way from `start` back to itself, without `start` at its beginning. */
function shortestCycle(
  start: string,
  group: ReadonlySet<string>,
  importsOf: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const ways: string[][] = [[start]];
  const seen = new Set<string>();
  for (const way of ways) {
    for (const to of importsOf.get(way.at(-1)!) ?? []) {
      if (to === start) return [...way.slice(1), start];
      if (!group.has(to) || seen.has(to)) continue;
      seen.add(to);
      ways.push([...way, to]);
    }
  }
  return [];
}
