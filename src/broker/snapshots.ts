import type { TunnelName } from './tunnel-name.ts';

/** What must outlive the relay's memory to take a tunnel back, once its agent has sent HELLO. */
export interface AgentSnapshot extends TunnelName {
  readonly kind: 'agent';
  readonly epoch: number;
  readonly software: string;
  readonly zone?: string | undefined;
  /** Milliseconds since 1970. */
  readonly connectedAtMs: number;
  readonly leaving: boolean;
}

/**
 * What must outlive the relay's memory to take a dialer's link back, once its session is attached.
 */
export interface DialerSnapshot extends TunnelName {
  readonly kind: 'dialer';
  readonly dialer: string;
  readonly forwarded: boolean;
  /** The session's number on this link. The other fields name the tunnel that carries it. */
  readonly session: number;
  readonly epoch: number;
}
