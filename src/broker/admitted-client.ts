import type { Link } from '../tunnel/link.ts';
import type { DialerToken } from '../base/tokens/token-subject.ts';
import type { TunnelName } from './tunnel-name.ts';

/** An agent whose credential was accepted, and the tunnel that its link will be. */
export interface AdmittedAgent extends TunnelName {
  readonly kind: 'agent';
  /** The credential is a registration with the hub cluster, which can revoke it. */
  readonly registered?: true;
  /** New sessions go to the agent only if the cluster has no other one. */
  readonly standby?: true;
}

/** A dialer whose credential was accepted, and the cluster that its session is for. */
export interface AdmittedDialer {
  readonly kind: 'dialer';
  readonly cluster: string;
  readonly dialer: string;
  /** Another replica forwarded the session, so this replica must not forward it again. */
  readonly forwarded?: boolean;
  /**
   * The dialer serves clients of another listener in the broker's process. A draining broker takes
   * its sessions until that listener has drained too.
   */
  readonly isLocal?: boolean;
  /**
   * Watches the link of the session, to end it when the dialer loses its rights. Returns the end of
   * the watch. It does not survive the hibernation of an edge broker.
   */
  readonly watch?: ((link: Link) => () => void) | undefined;
  /** The token by which the dialer was admitted, for a runtime that cannot keep `watch`. */
  readonly credential?: DialerToken | undefined;
  /** The dialer is a gateway, which may ask for the agent's credentials. */
  readonly isGateway?: boolean;
}

/** A client that passed admission. Its link comes into being after the upgrade. */
export type AdmittedClient = AdmittedAgent | AdmittedDialer;
