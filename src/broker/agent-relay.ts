import type { FrameType } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import type { AgeLimits } from './age-limits.ts';
import type { RelayOptions } from './relay-options.ts';

/** What an agent's tunnel, an `Agent`, needs of the relay. */
export interface AgentRelay<Agent> {
  readonly options: RelayOptions;
  readonly ageLimits: AgeLimits;
  /** Frames of sessions that had just ended: such frames may still be on the way. */
  droppedFrames: number;
  register(agent: Agent): void;
  unregister(agent: Agent): void;
  /** Sessions find the tunnel from now on. */
  onAgentEstablished(agent: Agent): void;
  /** The agent takes no new sessions any more. */
  onAgentLeaving(agent: Agent): void;
  /** Whether another agent of the cluster has served long enough to take this one's clients. */
  hasOtherAgents(agent: Agent): boolean;
  /** The tunnel's process is alive, while another process with the same agent id is connected. */
  onSharedId(agent: Agent): void;
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}
