import type { Entry, EntryList, Marker } from './kubeconfig-document.ts';

/** How clients reach a cluster: which part of the address names it. */
export type AddressForm =
  /** `https://proxy.example.com/<cluster>`, as the user-server of Cluster Proxy. */
  | 'path'
  /** `https://<cluster>.proxy.example.com`, for programs that accept no path in the address. */
  | 'host'
  /** A bridge as `proxy-url`. TLS ends at the cluster's own kube-apiserver. */
  | 'proxy';

/** A name that the certificate of every kube-apiserver has. */
const apiServerName = 'kubernetes.default.svc';

export interface ClusterAddress {
  readonly form: AddressForm;
  /** Of the gateway, or of the bridge. */
  readonly url: URL;
  /** PEM: the CA of `url`. Undefined: the well-known CAs. */
  readonly ca: string | undefined;
}

/** The credentials of a context. `none`: the context uses a user that exists already. */
export type ContextUser =
  | { readonly kind: 'existing'; readonly name: string }
  | { readonly kind: 'written'; readonly fields: Readonly<Record<string, unknown>> };

export interface ClusterContext {
  readonly cluster: string;
  /** The name of the context. Its cluster and its user have the same name. */
  readonly context: string;
  readonly user: ContextUser;
  /** PEM: the CA of the cluster's kube-apiserver, for the form `proxy`. */
  readonly clusterCa: string | undefined;
}

/** The entries of a kubeconfig for one cluster, in the order in which they are written. */
export function entriesFor(address: ClusterAddress, context: ClusterContext): readonly Entry[] {
  const marker: Marker = { cluster: context.cluster, gateway: gatewayOf(address.url) };
  const entry = (list: EntryList, fields: Readonly<Record<string, unknown>>): Entry => ({
    list,
    name: context.context,
    fields,
    marker,
  });
  const { user } = context;
  return [
    entry('clusters', clusterFields(address, context)),
    ...(user.kind === 'written' ? [entry('users', user.fields)] : []),
    entry('contexts', {
      cluster: context.context,
      user: user.kind === 'written' ? context.context : user.name,
    }),
  ];
}

/** Identifies a gateway in the markers of entries, without a slash at its end. */
export function gatewayOf(url: URL): string {
  return url.href.replace(/\/+$/, '');
}

function clusterFields(
  { form, url, ca }: ClusterAddress,
  { cluster, clusterCa }: ClusterContext,
): Readonly<Record<string, unknown>> {
  if (form === 'path') return { server: `${gatewayOf(url)}/${cluster}`, ...caData(ca) };
  if (form === 'host') {
    return { server: `${url.protocol}//${cluster}.${url.host}`, ...caData(ca) };
  }
  return {
    server: `https://${cluster}`,
    'proxy-url': gatewayOf(url),
    'tls-server-name': apiServerName,
    // client-go trusts the same CAs for the proxy and for the server behind it.
    ...caData([clusterCa, ca].filter((pem) => pem !== undefined).join('')),
  };
}

const caData = (pem: string | undefined): Readonly<Record<string, string>> =>
  pem === undefined || pem === ''
    ? {}
    : { 'certificate-authority-data': Buffer.from(pem).toString('base64') };
