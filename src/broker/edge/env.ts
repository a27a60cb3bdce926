import type { ClusterObject } from './cluster-object.ts';

/** The Worker's environment, from wrangler.toml, `wrangler secret put` and `--var`. */
export interface EdgeEnv {
  readonly CLUSTER: DurableObjectNamespace<ClusterObject>;
  /** Public keys of enrolment tokens, concatenated PEM. A token of any of the keys is accepted. */
  readonly CULVERT_TOKEN_PUBLIC_KEY?: string;
  /** "true" and no key: all clients are admitted, as any cluster. For tests on your own machine. */
  readonly CULVERT_OPEN?: string;
  /** WebSocket upgrades per second that one isolate admits (default 200). */
  readonly CULVERT_ACCEPT_RATE?: string;
  /** error, warn, info or debug (default info). */
  readonly CULVERT_LOG_LEVEL?: string;
  /** A peer that was silent for longer is dead (default 60s). */
  readonly CULVERT_SILENCE_LIMIT?: string;
}
