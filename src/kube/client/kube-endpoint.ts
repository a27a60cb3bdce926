import type { Proxy } from '../../base/net/proxy.ts';
import type { Secret } from '../../base/secret.ts';

/** Where an API server is and who we are to it; enough to make any connection, a WebSocket too. */
export interface KubeEndpoint {
  /** May have a path, under which the API begins. */
  readonly server: URL;
  /** PEM; undefined: the well-known CAs. */
  readonly ca: string | undefined;
  /** The name in the server's certificate, also sent as SNI; undefined: the URL's host. */
  readonly serverName: string | undefined;
  /** False: whoever answers is believed (insecure-skip-tls-verify). */
  readonly verify: boolean;
  /** Shown in the TLS handshake. */
  readonly certificate: ClientCertificate | undefined;
  /** Goes into `Authorization: Bearer`. */
  readonly token: Secret | undefined;
  /** What the kubeconfig itself says of a proxy; it beats the environment's. */
  readonly proxy: Proxy | undefined;
  /** The ServiceAccount's own namespace, or the context's. */
  readonly namespace: string | undefined;
}

/** PEM, both. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: Secret;
}

/** An endpoint whose files may be rewritten at any time. */
export interface KubeConfig {
  /**
   * As the files are now, give or take 10 s; the same object as long as they say the same.
   *
   * @throws KubeError `bad_config` names the file, what is wrong with it and the next step
   */
  endpoint(): Promise<KubeEndpoint>;

  /** The server does not accept what we have: the next `endpoint` reads the files whatever their age. */
  expire(): void;
}
