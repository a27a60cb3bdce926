/** What an agent needs of a stream that it serves. */
export interface AgentStream {
  /** The target, `host:port`. */
  readonly address: string;
  /** The agent's number of the dial. */
  random: bigint;
  /** The agent's number of the connection, once the dial has succeeded. */
  readonly connectId: number;
  /** Bytes that wait for the client beyond the room of its stream. */
  readonly backlogBytes: number;
  /** The agent has closed the connection, and the client has not taken all bytes yet. */
  readonly isDraining: boolean;
  /** DIAL_RSP without an error. */
  onDialed(connectId: number): void;
  /** DIAL_RSP with an error. */
  onDialFailed(text: string): void;
  /** Bytes of the target, borrowed. */
  onTargetData(bytes: Uint8Array): void;
  /** CLOSE_RSP: the agent has closed the connection to the target. */
  onTargetClosed(text: string): void;
  /** The agent is gone. */
  onAgentLost(): void;
  /** The agent's connection has room again. */
  payBack(): void;
  /** Ends the stream, because its client keeps the agent from serving others. */
  resetStalled(stalledMs: number): void;
}

/** What a stream needs of its agent. */
export interface StreamAgent {
  /** Asks the agent to dial. It answers with `onDialed`, `onDialFailed` or `onAgentLost`. */
  dial(stream: AgentStream): void;
  cancelDial(stream: AgentStream): void;
  /**
   * Sends a client's bytes to its target. False: the window of these bytes is given back later, with
   * `payBack`.
   */
  sendData(stream: AgentStream, bytes: Uint8Array): boolean;
  /** Ends a connection at the agent. The agent answers with CLOSE_RSP. */
  close(stream: AgentStream): void;
  /** More bytes wait for the client. */
  onBacklog(stream: AgentStream, bytes: number): void;
  /** The client has taken its backlog, or has left. */
  onBacklogTaken(stream: AgentStream, bytes: number): void;
}
