import type { Timer } from '../base/clock.ts';

/** The life of a tunnel. Its claim in the directory has a life of its own, see `TunnelClaim`. */
export type TunnelState =
  /** HELLO has not come. */
  | { readonly kind: 'greeting'; readonly timer: Timer }
  /** The agent takes new sessions, once the tunnel's claim is established. */
  | { readonly kind: 'serving' }
  /** This broker gives the tunnel up: its sessions must move within `deadlineMs` from GOAWAY. */
  | { readonly kind: 'retiring'; readonly deadlineMs: number }
  /**
   * The agent takes no new sessions. With `deadlineMs`, this broker had given the tunnel up before.
   */
  | { readonly kind: 'leaving'; readonly deadlineMs: number | undefined }
  | { readonly kind: 'closed' };

export const serving: TunnelState = { kind: 'serving' };
export const leaving: TunnelState = { kind: 'leaving', deadlineMs: undefined };
export const closed: TunnelState = { kind: 'closed' };
