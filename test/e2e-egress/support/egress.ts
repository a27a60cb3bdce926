import type { Program } from '../../../testkit/processes/process.ts';

/** Programs that lead a kube-apiserver's traffic into the cluster, and their faults. */
export interface Egress extends AsyncDisposable {
  readonly name: string;
  readonly agents: readonly Program[];
  /**
   * Kills the program with which agents connect, and starts it again after `downMs`. Resolves when
   * it has started.
   */
  killBroker(downMs: number): Promise<void>;
  /** Kills the agent that carries most connections. It does not come back. */
  killAgent(): Promise<void>;
  /** For each agent, one after the other: starts a new one, then stops the old one. */
  rollAgents(): Promise<void>;
}
