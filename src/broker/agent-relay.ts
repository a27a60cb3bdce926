import type { FrameType } from '../tunnel/frame.ts';
import type { Link } from '../tunnel/link.ts';
import type { AgentConnection } from './agent-connection.ts';
import type { RelayOptions } from './relay-options.ts';

/** What an agent's tunnel needs of the relay. */
export interface AgentRelay {
  readonly options: RelayOptions;
  droppedFrames: number;
  register(agent: AgentConnection): void;
  unregister(agent: AgentConnection): void;
  /** Sessions find the tunnel from now on. */
  onAgentEstablished(agent: AgentConnection): void;
  /** The agent takes no new sessions any more. */
  onAgentLeaving(agent: AgentConnection): void;
  /** The tunnel's process is alive, while another process with the same agent id is connected. */
  onSharedId(agent: AgentConnection): void;
  relay(link: Link, type: FrameType, session: number, stream: number, payload: Uint8Array): void;
}
