import type { ClusterObject } from './cluster-object.ts';

/** What wrangler.toml, `wrangler secret put` and `--var` give to the Worker. */
export interface EdgeEnv {
  readonly CLUSTER: DurableObjectNamespace<ClusterObject>;
  /** Public keys of enrolment tokens, PEM, one after the other; a token of any of them is accepted. */
  readonly CULVERT_TOKEN_PUBLIC_KEY?: string;
  /** "true", and no key: everybody may be anybody. For a try on one's own machine. */
  readonly CULVERT_OPEN?: string;
  /** WebSocket upgrades per second that one isolate lets in (default 200). */
  readonly CULVERT_ACCEPT_RATE?: string;
  /** error, warn, info or debug (default info). */
  readonly CULVERT_LOG_LEVEL?: string;
  /** A peer that was silent for so long is dead (default 60s). */
  readonly CULVERT_SILENCE_LIMIT?: string;
}
