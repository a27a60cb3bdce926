/**
 * Flags and variables that a program cannot use. It holds all problems together, so that the user
 * can correct them in one step.
 */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** One sentence per problem, with the value and the next step. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    super(`${count}: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/**
 * `", did you mean X?"` when a candidate is similar to `word`. An empty text when no candidate is.
 */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const near = nearMiss(word, candidates);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/**
 * The candidate that is most similar to `word`. Undefined when none is similar enough to be a
 * typing error.
 */
export function nearMiss(word: string, candidates: Iterable<string>): string | undefined {
  // At most a third of the characters may differ: enough for a typing error, too few to turn one
  // word into another. The prefix does not count, because all options share it.
  const stem = (text: string) => text.replace(/^(--|CULVERT_)/, '');
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(stem(word).length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(stem(word), stem(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/**
 * The number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into
 * `b`.
 */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      }
      row.push(cost);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length]!;
}
