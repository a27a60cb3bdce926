import { isDeepStrictEqual } from 'node:util';
import type { OwnerReference } from '../../kube/client/kube-object.ts';
import type { Authority } from '../rotation/authority.ts';

/** Who signs agents' certificates. */
export interface AgentSigner {
  readonly authority: Authority;
  /** Stands for it in the subjects of what it signs. */
  readonly organizationalUnit: string;
}

/** Where the agents of the fleet connect to, as the ManagedProxyConfiguration has it. */
export type AgentEntrypoint =
  /** A host that leads to the brokers. */
  | { readonly t: 'direct'; readonly host: string; readonly port: number }
  /** PortForward: through the hub's kube-apiserver. */
  | {
      readonly t: 'via-hub';
      /** `NAMESPACE/SCHEME:SERVICE:PORTNAME`, as the agent's flag takes it. */
      readonly viaHub: string;
    };

/** What the ManagedProxyConfiguration says about agents, with its defaults filled in. */
export interface AgentSettings {
  readonly generation: number;
  readonly image: string;
  readonly replicas: number;
  /** Destinations besides the kube-apiserver, as the agent's `--allow` takes them. */
  readonly allow: readonly string[];
  /** Settings of the agent, by the names of its flags without dashes. */
  readonly flags: readonly { readonly name: string; readonly value: string }[];
  readonly imagePullSecrets: readonly string[];
}

/** The Role on the hub that lets agents through the kube-apiserver to the one port that takes them; it is made with the hub's objects. */
export interface TunnelRole {
  readonly namespace: string;
  readonly name: string;
  /** The ManagedProxyConfiguration. */
  readonly owner: OwnerReference;
}

/** What every cluster's side starts from. */
export interface FleetState {
  readonly hubNamespace: string;
  readonly proxy: AgentSettings;
  readonly entrypoint: AgentEntrypoint | Error;
  /** Undefined: agents do not go through the kube-apiserver. */
  readonly tunnel: TunnelRole | undefined;
  /** PEM of what agents trust brokers by. */
  readonly caBundle: string;
}

/** What the hub's side has come to. */
export interface HubState {
  readonly agentSigner: AgentSigner;
  /** Undefined: the configuration has not been right since the start, so clusters stay as they are. */
  readonly fleet: FleetState | undefined;
}

/** The newest state, for whoever depends on it; undefined until the hub has been looked at once, or while there is no configuration. */
export class HubStateCell {
  readonly #listeners = new Set<() => void>();
  #value: HubState | undefined;
  #lack: string | undefined;

  get value(): HubState | undefined {
    return this.#value;
  }

  /** Why there is no `fleet` to start from, as a sentence with the next step; undefined: there is one, or nobody has looked yet. */
  get lack(): string | undefined {
    return this.#lack;
  }

  /** @param lack why it has no `fleet`; undefined: it has one */
  set(next: HubState, lack?: string): void {
    this.#change(next, lack);
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
  const { agentSigner, fleet } = state;
  const { entrypoint } = fleet ?? {};
  const where = entrypoint instanceof Error ? entrypoint.message : entrypoint;
  return { fleet: { ...fleet, entrypoint: where }, authority: agentSigner.authority.certPem };
}
