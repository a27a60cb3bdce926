import { processName, type AgentProcess } from './directory.ts';

/** Which tunnel this is: an agent's process has several, to different replicas. */
export interface TunnelName extends AgentProcess {
  readonly cluster: string;
  readonly tunnel: number;
}

/** What of a tunnel must outlive the memory of the relay, once its agent has said HELLO. */
export interface AgentSnapshot extends TunnelName {
  readonly role: 'agent';
  readonly epoch: number;
  readonly software: string;
  /** Milliseconds since 1970. */
  readonly connectedAtMs: number;
  readonly leaving: boolean;
}

/** Names a tunnel within its cluster. */
export function tunnelKey(name: TunnelName): string {
  return `${name.tunnel}/${processName(name)}`;
}
