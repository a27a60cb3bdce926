/** A problem with one field of an object, for a condition. It is never thrown. */
export interface FieldProblem {
  /** `spec.proxyServer.replicas` */
  readonly field: string;
  /** To follow the name of the field: `is "three", a whole number is needed`. */
  readonly sentence: string;
}

/** Checks a text. It returns the sentence of a FieldProblem, or undefined for a valid text. */
export type TextCheck = (text: string) => string | undefined;

/** The problems as one text. Each sentence begins with its field. */
export function formatProblems(problems: readonly FieldProblem[]): string {
  return problems.map(({ field, sentence }) => `${field} ${sentence}`).join('; ');
}
