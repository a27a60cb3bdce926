/** Converts a thrown value to an Error. An Error is returned unchanged. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The messages of an error and its causes, joined by ": ", each sentence once. */
export function describeError(thrown: unknown): string {
  const sentences: string[] = [];
  for (let at: unknown = thrown, depth = 0; at !== undefined && at !== null && depth < 8; depth++) {
    const error = asError(at);
    const sentence = error.message || error.name;
    if (!sentences.some((kept) => kept.includes(sentence))) sentences.push(sentence);
    at = error.cause;
  }
  return sentences.join(': ');
}
