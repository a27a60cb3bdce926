import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { TunnelError } from './errors.ts';
import type { TunnelLimits } from './limits.ts';
import type { SlabPool } from './slab.ts';
import type { Stream } from './stream.ts';
import type { StreamHandler } from './stream-handler.ts';
import type { StreamRequest } from './stream-request.ts';
import type { WindowBudget } from './window-budget.ts';

export interface SessionOptions {
  /** Decides about each stream that the other end opens; undefined at the end that opens them. */
  readonly accept?: (request: StreamRequest, stream: Stream) => StreamHandler;
  readonly clock: Clock;
  readonly limits: TunnelLimits;
  readonly pool: SlabPool;
  /** The process's budget of receive windows. */
  readonly budget: WindowBudget;
  /**
   * The process's budget of what peers make it keep with their grants (default: only each session
   * is limited).
   */
  readonly grantBudget?: WindowBudget;
  readonly log: Logger;
  /** The other end broke the rules of the session itself. The owner ends the session. */
  readonly onBroken?: (error: TunnelError) => void;
  /** The other end has the session on another link, and reads nothing more on this one. */
  readonly onMoved?: () => void;
  /**
   * The other end has reported on a further link what it has: streams continue, and `resentBytes`
   * are sent again.
   */
  readonly onResumed?: (resentBytes: number) => void;
}
