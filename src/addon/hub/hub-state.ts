import { isDeepStrictEqual } from 'node:util';
import type { OwnerReference } from '../../kube/client/kube-object.ts';
import type { Authority } from '../rotation/authority.ts';
import { Observable } from '../runtime/observable.ts';

/** The CA that signs agents' certificates. */
export interface AgentSigner {
  readonly authority: Authority;
  /** Names the CA in the subjects of the certificates that it signs. */
  readonly organizationalUnit: string;
}

/** Where the agents of the fleet connect to. */
export type AgentEntrypoint =
  /** A host that leads to the brokers. */
  | { readonly kind: 'direct'; readonly host: string; readonly port: number }
  /** PortForward: through the kube-apiserver of the hub. */
  | {
      readonly kind: 'via-hub';
      /** `NAMESPACE/SCHEME:SERVICE:PORTNAME`, as the agent's flag takes it. */
      readonly viaHub: string;
    };

/** The settings of agents in the ManagedProxyConfiguration. */
export interface AgentSettings {
  readonly generation: number;
  readonly image: string;
  readonly replicas: number;
  /** Destinations besides the kube-apiserver, as the agent's `--allow` takes them. */
  readonly allow: readonly string[];
  /** Options of the agent, by the names of its flags without dashes. */
  readonly flags: readonly { readonly name: string; readonly value: string }[];
  readonly imagePullSecrets: readonly string[];
}

/**
 * The Role that lets agents through the hub's kube-apiserver to the port for agents. It is one of
 * the hub's objects.
 */
export interface TunnelRole {
  readonly namespace: string;
  readonly name: string;
  /** The ManagedProxyConfiguration. */
  readonly owner: OwnerReference;
}

/** What the hub provides for the agents of all clusters. */
export interface FleetState {
  readonly hubNamespace: string;
  readonly proxy: AgentSettings;
  /** An Error: there is no entrypoint yet. Its message says what is missing. */
  readonly entrypoint: AgentEntrypoint | Error;
  /** Undefined: agents do not connect through the kube-apiserver. */
  readonly tunnel: TunnelRole | undefined;
  /** PEM of the CAs by which agents trust brokers. */
  readonly caBundle: string;
}

/** The result of the hub's reconcile, from which clusters and signing requests are reconciled. */
export interface HubState {
  /** Undefined: no CA signs. */
  readonly agentSigner: AgentSigner | undefined;
  /**
   * Undefined: there has been no valid configuration since the start. Clusters stay as they are.
   */
  readonly fleet: FleetState | undefined;
  /**
   * Why there is no `fleet`, as a sentence with the next step. Undefined: there is a fleet, or the
   * hub has not been read yet.
   */
  readonly blockedReason: string | undefined;
}

const unread: HubState = { agentSigner: undefined, fleet: undefined, blockedReason: undefined };

/** The newest state of the hub. */
export function observableHubState(): Observable<HubState> {
  return new Observable(unread, (a, b) => isDeepStrictEqual(comparable(a), comparable(b)));
}

/** Key objects never equal each other, so the CA's certificate is compared instead. */
function comparable({ agentSigner, fleet, blockedReason }: HubState): unknown {
  const { entrypoint } = fleet ?? {};
  const where = entrypoint instanceof Error ? entrypoint.message : entrypoint;
  const authority = agentSigner?.authority.certPem;
  return { fleet: { ...fleet, entrypoint: where }, authority, blockedReason };
}
