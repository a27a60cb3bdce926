/** What turned up while the wishes for an agent were read: sentences that name object, field and next step. */
export class Diagnostics {
  /** Nothing can be rendered until these are put right. */
  readonly problems: string[] = [];
  /** Accepted, but without the effect that somebody may expect. */
  readonly notices: string[] = [];
}
