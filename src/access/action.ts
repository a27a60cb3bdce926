/** A request to the kube-apiserver about a resource. */
export interface KubeAction {
  readonly kind: 'kube';
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`. */
  readonly verb: string;
  /** Empty: the core group. */
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  /** Empty: none, or all namespaces. */
  readonly namespace: string;
  /** Empty: no single object. */
  readonly name: string;
}

/** A request to the kube-apiserver with a path that names no resource, such as /version. */
export interface KubePathAction {
  readonly kind: 'kube-path';
  /** The HTTP method in lower case. */
  readonly verb: string;
  readonly path: string;
}

/** A request to a Service by the path of the HTTP plane. */
export interface ServiceAction {
  readonly kind: 'service';
  readonly scheme: 'http' | 'https';
  readonly namespace: string;
  readonly name: string;
  /** A number, or the name of one of the Service's ports. */
  readonly port: string;
}

/** A TCP connection to a target that the agent dials. */
export interface TcpAction {
  readonly kind: 'tcp';
  readonly host: string;
  readonly port: number;
}

/**
 * A dialer opens a session with a cluster. The broker does not read the targets of its streams, so
 * the session is allowed as a whole.
 */
export interface SessionAction {
  readonly kind: 'session';
}

/** The work that a subject asks for in one cluster. */
export type Action = KubeAction | KubePathAction | ServiceAction | TcpAction | SessionAction;
