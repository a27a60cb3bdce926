/**
 * Results of checking the configurations of an agent. Each sentence names the object, the field and
 * the next step.
 */
export class Diagnostics {
  /** Nothing can be rendered until these are corrected. */
  readonly problems: string[] = [];
  /** Settings that are accepted and have no effect. */
  readonly notices: string[] = [];
}
