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

  get value(): HubState | undefined {
    return this.#value;
  }

  /** Tells the listeners, unless it says the same as before. */
  set(next: HubState | undefined): void {
    const isSame = isDeepStrictEqual(comparable(this.#value), comparable(next));
    this.#value = next;
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
