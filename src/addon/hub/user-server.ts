import type { KubeObject } from '../../kube/client/kube-object.ts';
import { userServer } from '../api/names.ts';
import { findObject } from '../api/objects.ts';
import type { HubSettings } from './broker-args.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';

/** Whether the addon issues the certificate of the user-server. Otherwise a person provides it. */
export function issuesUserServerCertificate({ spec }: ManagedProxyConfiguration): boolean {
  return spec.userServer !== undefined && spec.authentication.signer.type === 'SelfSigned';
}

/** The names in the certificate, as in Cluster Proxy. Undefined: the addon issues none. */
export function userServerSans(
  configuration: ManagedProxyConfiguration,
): readonly string[] | undefined {
  if (!issuesUserServerCertificate(configuration)) return undefined;
  const { service } = userServer;
  const inNamespace = `${service}.${configuration.spec.proxyServer.namespace}`;
  return [
    ...new Set([
      ...['127.0.0.1', 'localhost', service, inNamespace],
      ...[`${inNamespace}.svc`, `${inNamespace}.svc.cluster.local`],
      ...(configuration.spec.userServer?.additionalSANs ?? []),
    ]),
  ];
}

/**
 * Whether brokers serve the user-server's port. Without its certificate they do not, because a pod
 * with a missing Secret does not start, and konnectivity clients need the brokers as well.
 */
export function servesUsers(
  configuration: ManagedProxyConfiguration,
  { enableServiceProxy }: HubSettings,
  objects: readonly KubeObject[],
): boolean {
  const { namespace } = configuration.spec.proxyServer;
  return (
    enableServiceProxy &&
    (issuesUserServerCertificate(configuration) ||
      findObject(objects, 'Secret', userServer.secret, namespace) !== undefined)
  );
}
