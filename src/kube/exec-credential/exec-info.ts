import { isClusterName } from '../../base/names/cluster-name.ts';
import { CredentialError } from './credential-error.ts';

/** What a client says to the exec plugin that it runs (KEP-541). */
export interface ExecInfo {
  /** The version in which the plugin must answer. */
  readonly apiVersion: string;
  /**
   * The cluster that the client connects to. The kubeconfig or the ClusterProfile names it
   * (KEP-5339). Undefined if the client sends nothing about its cluster.
   */
  readonly clusterName: string | undefined;
}

export const execInfoVariable = 'KUBERNETES_EXEC_INFO';

const versions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];

/**
 * Reads the variable KUBERNETES_EXEC_INFO.
 *
 * @param text undefined if no client runs the plugin, but a person
 * @throws CredentialError
 */
export function readExecInfo(text: string | undefined): ExecInfo {
  if (text === undefined || text === '') {
    return { apiVersion: versions[0]!, clusterName: undefined };
  }
  const info = parseInfo(text);
  if (info?.kind !== 'ExecCredential') {
    throw new CredentialError(`${execInfoVariable} holds no ExecCredential`);
  }
  const { apiVersion } = info;
  if (typeof apiVersion !== 'string' || !versions.includes(apiVersion)) {
    throw new CredentialError(
      `the client wants an answer in version ${JSON.stringify(apiVersion)}, but only ${versions.join(' and ')} are known`,
    );
  }
  const name = info.spec?.cluster?.config?.clusterName;
  if (name === undefined) return { apiVersion, clusterName: undefined };
  // The name becomes a part of paths and of namespaces.
  if (typeof name !== 'string' || !isClusterName(name)) {
    throw new CredentialError(`clusterName in ${execInfoVariable} is not the name of a cluster`);
  }
  return { apiVersion, clusterName: name };
}

interface RawInfo {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly spec?: {
    readonly cluster?: { readonly config?: { readonly clusterName?: unknown } | null } | null;
  } | null;
}

function parseInfo(text: string): RawInfo | undefined {
  try {
    return JSON.parse(text) as RawInfo;
  } catch {
    return undefined;
  }
}
