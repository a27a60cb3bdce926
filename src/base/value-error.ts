/**
 * A text is not a value of the kind that was asked for. The message is a predicate (`is not a duration`), so that callers put the name and
 * the text in front of it.
 */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}
