/** Whether a text fits a pattern. */
export type NamePattern = (text: string) => boolean;

/**
 * A name, or a prefix with a `*` at its end. Other stars have no special meaning, so that a name
 * is never wider than it looks.
 */
export function namePattern(pattern: string): NamePattern {
  if (!pattern.endsWith('*')) return (text) => text === pattern;
  const prefix = pattern.slice(0, -1);
  return (text) => text.startsWith(prefix);
}

/** Fits if one of the patterns fits. */
export function anyOf(patterns: readonly string[]): NamePattern {
  const all = patterns.map(namePattern);
  return (text) => all.some((fits) => fits(text));
}
