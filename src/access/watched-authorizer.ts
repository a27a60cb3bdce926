import type { Authorizer } from './authorizer.ts';

/** An authorizer whose rules can change while programs run. */
export interface WatchedAuthorizer extends Authorizer {
  /** Calls `listener` after each change of the rules. */
  onChange(listener: () => void): void;
}
