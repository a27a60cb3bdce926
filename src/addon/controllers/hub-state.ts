import { isDeepStrictEqual } from 'node:util';
import type { AgentEntrypoint, AgentInput } from '../agent/agent-input.ts';
import type { Authority } from '../certificates/authority.ts';
import type { TunnelRole } from '../registration/hub-access.ts';

/** What the hub's side has come to and every cluster's side starts from. */
export interface HubState {
  readonly hubNamespace: string;
  readonly proxy: AgentInput['proxy'];
  readonly entrypoint: AgentEntrypoint | Error;
  /** Undefined: agents do not go through the kube-apiserver. */
  readonly tunnel: TunnelRole | undefined;
  /** PEM of what agents trust brokers by. */
  readonly caBundle: string;
  /** Stands for the CA of agents' certificates in their subjects. */
  readonly organizationalUnit: string;
  /** Signs agents' certificates. */
  readonly agentAuthority: Authority;
}

/** The newest state, for whoever depends on it; undefined until the hub has been looked at once, or while there is no configuration. */
export class HubStateCell {
  readonly #listeners = new Set<() => void>();
  #value: HubState | undefined;
  #lack: string | undefined;

  get value(): HubState | undefined {
    return this.#value;
  }

  /** Why there is no value, as a sentence with the next step; undefined: there is one, or nobody has looked yet. */
  get lack(): string | undefined {
    return this.#lack;
  }

  set(next: HubState): void {
    this.#change(next, undefined);
  }

  /** There is none any more, nor will there be until somebody has done what `lack` says. */
  clear(lack: string): void {
    this.#change(undefined, lack);
  }

  /** Tells the listeners, unless it says the same as before. */
  #change(next: HubState | undefined, lack: string | undefined): void {
    const isSame =
      lack === this.#lack && isDeepStrictEqual(comparable(this.#value), comparable(next));
    this.#value = next;
    this.#lack = lack;
    if (!isSame) for (const listener of this.#listeners) listener();
  }

  /** @returns takes the listener away; idempotent */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Keys are objects that never equal another; the certificate in PEM stands for its key. */
function comparable(state: HubState | undefined): unknown {
  if (state === undefined) return undefined;
  const { agentAuthority, entrypoint, ...rest } = state;
  const where = entrypoint instanceof Error ? entrypoint.message : entrypoint;
  return { ...rest, entrypoint: where, authority: agentAuthority.certPem };
}
