import type { Proxy } from '../../base/net/proxy.ts';
import type { Secret } from '../../base/secret.ts';

/** The address of an API server and our credentials. Sufficient for any kind of connection. */
export interface KubeEndpoint {
  /** Its path, if any, is the prefix of all API paths. */
  readonly server: URL;
  /** PEM, or undefined for the well-known CAs. */
  readonly ca: string | undefined;
  /** The name in the server's certificate, also sent as SNI. Undefined for the URL's host. */
  readonly serverName: string | undefined;
  /** False: the server's certificate is not checked (insecure-skip-tls-verify). */
  readonly verify: boolean;
  /** Shown in the TLS handshake. */
  readonly certificate: ClientCertificate | undefined;
  /** Goes into `Authorization: Bearer`. */
  readonly token: Secret | undefined;
  /** The proxy that the kubeconfig names. It has precedence over the environment's. */
  readonly proxy: Proxy | undefined;
  /** The ServiceAccount's own namespace, or the context's. */
  readonly namespace: string | undefined;
}

/** PEM, both. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: Secret;
}

/** An endpoint whose files can be rewritten at any time. */
export interface KubeConfig {
  /**
   * The endpoint of the current files, at most 10 s old. The same object as long as the files say
   * the same.
   *
   * @throws KubeError `bad_config` with the file, its problem and the next step
   */
  endpoint(): Promise<KubeEndpoint>;

  /** The server refused our credentials. The next `endpoint` reads the files whatever their age. */
  expire(): void;
}
