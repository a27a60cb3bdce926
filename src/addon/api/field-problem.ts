/** What is wrong with one field of an object: data for a condition, never thrown. */
export interface FieldProblem {
  /** `spec.proxyServer.replicas` */
  readonly field: string;
  /** Goes on after the field's name: `is "three", a whole number is needed`. */
  readonly sentence: string;
}

/** Says what is wrong with a text, as a FieldProblem's sentence; undefined where nothing is. */
export type TextCheck = (text: string) => string | undefined;

/** The problems as one text: each sentence begins with its field. */
export function formatProblems(problems: readonly FieldProblem[]): string {
  return problems.map(({ field, sentence }) => `${field} ${sentence}`).join('; ');
}
