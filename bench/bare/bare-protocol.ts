import type { CertificateFiles } from '../../testkit/world/certificates.ts';

/** The application protocols (ALPN) of connections between the two processes of the bare chain. */
export const relayProtocol = 'relay';
export const sharedProtocol = 'shared';
export const controlProtocol = 'control';

/** Files in PEM. */
export interface BareBrokerOptions {
  readonly cert: string;
  readonly key: string;
  /** The CA of the agent's certificate. */
  readonly agentCa: string;
  /** The CA of the clients' certificates; undefined: clients show none. */
  readonly clientCa?: string | undefined;
}

export interface BareAgentOptions {
  readonly linkPort: number;
  /** The CA of the broker's certificate. */
  readonly brokerCa: string;
  readonly certificate: CertificateFiles;
  readonly target: BareTarget;
}

/** A server on loopback. */
export interface BareTarget {
  readonly port: number;
  /** The CA of its certificate; undefined: it speaks plain TCP. */
  readonly ca?: string | undefined;
}
