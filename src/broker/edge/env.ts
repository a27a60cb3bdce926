import type { BrokerStatus } from '../status.ts';

/** What the Worker, and the objects of other names, call on the object of a name. */
export interface ClusterObjectCalls extends Rpc.DurableObjectBranded {
  status(): BrokerStatus;
  /** The cluster whose alias is this object's name; undefined: there is none. */
  aliasOf(): Promise<string | undefined>;
  /** Tells the object that its name is the alias of this cluster. */
  becomeAliasOf(cluster: string): Promise<void>;
}

/** The Worker's environment, from wrangler.toml, `wrangler secret put` and `--var`. */
export interface EdgeEnv {
  readonly CLUSTER: DurableObjectNamespace<ClusterObjectCalls>;
  /** Public keys of enrolment tokens, concatenated PEM. A token of any of the keys is accepted. */
  readonly CULVERT_TOKEN_PUBLIC_KEY?: string;
  /** "true" and no key: all clients are admitted, as any cluster. For tests on your own machine. */
  readonly CULVERT_OPEN?: string;
  /** WebSocket upgrades per second that one isolate admits (default 200). */
  readonly CULVERT_ACCEPT_RATE?: string;
  /**
   * A policy, a hub cluster and its RBAC: `accessVariables` lists these variables, which docs/edge.md
   * describes.
   */
  readonly CULVERT_POLICY?: string;
  /** error, warn, info or debug (default info). */
  readonly CULVERT_LOG_LEVEL?: string;
  /** A peer that was silent for longer is dead (default 60s). */
  readonly CULVERT_SILENCE_LIMIT?: string;
  /**
   * "true": serves HTTP clients of clusters. `gatewayVariables` lists the variables of this gateway,
   * which docs/edge.md describes.
   */
  readonly CULVERT_GATEWAY?: string;
}
