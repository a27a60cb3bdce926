import type { Timer } from '../base/clock.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { SessionLink } from './session-link.ts';

/** The life of a dialer's session. */
export type SessionState =
  /** No agent has the session yet. */
  | { readonly kind: 'connecting' }
  /** A link carries the session. */
  | (Attachment & { readonly kind: 'attached' })
  /** The broker of the link goes away. The link carries the session until there is another one. */
  | (Attachment & { readonly kind: 'moving' })
  /** The link was lost, and the session waits for another one until the timer ends it. */
  | (Loss & { readonly kind: 'recovering' })
  | { readonly kind: 'closed' };

export interface Attachment {
  readonly link: SessionLink;
  /** The agent had the session already when this link was made. */
  readonly isResumed: boolean;
}

export interface Loss {
  readonly error: TunnelError;
  readonly atMs: number;
  /** That of the lost link. */
  readonly isResumed: boolean;
  readonly giveUpTimer: Timer;
  /** The agent's time is over, and the answer to the attempt in progress decides. */
  readonly isOverdue: boolean;
}
