import { describeError } from '../../base/error.ts';
import { didYouMean } from '../../base/options/option-problems.ts';
import { parseBoolean, parseInteger } from '../../base/options/option-parsers.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { parseHostPort } from '../../base/net/host-port.ts';

const maxReplicas = 100;
const dnsName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const imagePart = /^[A-Za-z0-9][-\w.:/@]*$/;

/** Variables that mean something to the agent, each with what reads its value and throws a sentence. */
const readers = {
  replicas: (value: string) => parseInteger(value, 0, maxReplicas),
  enableKubeApiProxy: parseBoolean,
  serviceDomain: (value: string) =>
    matching(value, dnsName, 'a DNS domain such as svc.cluster.local'),
  serviceEntryPoint: readHost,
  serviceEntryPointPort: (value: string) => parseInteger(value, 1, 65_535),
  agentDeploymentName: (value: string) => matching(value, dnsName, 'a name for a Deployment'),
  proxyAgentImage: readImagePart,
  registry: readImagePart,
  image: readImagePart,
  tag: readImagePart,
};

/** The variables that were given. Absent ones are left out. */
export type AgentVariables = {
  -readonly [Name in keyof typeof readers]?: ReturnType<(typeof readers)[Name]>;
};

/** Variables of Cluster Proxy's charts that have nothing to set here, with the reason. */
const withoutEffect: Readonly<Record<string, string>> = {
  agentIdentifiers: 'names lead to a cluster by its certificate, no agent can claim others',
  serviceProxyHost: 'names lead to a cluster by its certificate, no agent can claim others',
  includeNamespaceCreation: 'the namespace is always part of the manifests',
  base64EncodedCAData: 'the addon distributes its certificate authorities itself',
  spokeAddonNamespace: 'spec.agentInstallNamespace names the namespace',
  clusterName: 'the cluster is that of the ManagedClusterAddOn',
  addonInstallNamespace: 'spec.agentInstallNamespace names the namespace',
  installMode: 'there is one mode',
  enableServiceProxy: 'there is no service-proxy container',
  enableImpersonation: 'there is no service-proxy container',
  additionalServiceCAConfigMap: 'there is no service-proxy container',
  oidcIssuerURL: 'there is no service-proxy container',
  oidcClientID: 'there is no service-proxy container',
  oidcUsernameClaim: 'there is no service-proxy container',
  oidcUsernamePrefix: 'there is no service-proxy container',
  oidcGroupsClaim: 'there is no service-proxy container',
  oidcGroupsPrefix: 'there is no service-proxy container',
  oidcReservedNamePrefixes: 'there is no service-proxy container',
  oidcCAConfigMap: 'there is no service-proxy container',
  oidcSigningAlgs: 'there is no service-proxy container',
  oidcRequiredClaimsJSON: 'there is no service-proxy container',
};

/**
 * Reads `customizedVariables`. A value that cannot be is a problem: a typo must not become a default. A name that is not known is a
 * notice: one configuration may serve several addons.
 *
 * @param where names the AddOnDeploymentConfig
 */
export function readVariables(
  given: readonly { readonly name: string; readonly value: string }[],
  where: string,
  diagnostics: Diagnostics,
): AgentVariables {
  const variables: Record<string, string | number | boolean> = {};
  for (const { name, value } of given) {
    if (!Object.hasOwn(readers, name)) {
      diagnostics.notices.push(`${where}: ${noticeOf(name)}`);
      continue;
    }
    try {
      variables[name] = readers[name as keyof typeof readers](value);
    } catch (thrown) {
      const problem = `customizedVariables ${name}=${JSON.stringify(value)} ${describeError(thrown)}`;
      diagnostics.problems.push(`${where}: ${problem}`);
    }
  }
  return variables;
}

function noticeOf(name: string): string {
  const reason = Object.hasOwn(withoutEffect, name) ? withoutEffect[name] : undefined;
  if (reason !== undefined) return `the variable ${name} has no effect, ${reason}`;
  const known = Object.keys({ ...readers, ...withoutEffect });
  return `the variable ${name} is unknown${didYouMean(name, known)}`;
}

function readHost(value: string): string {
  // An IPv6 address may come bare, as Cluster Proxy's flag took it, or in brackets, as URLs want it.
  const isBare = value.includes(':') && !value.startsWith('[');
  try {
    return parseHostPort(isBare ? `[${value}]:1` : `${value}:1`).host;
  } catch {
    throw new Error('is not a host name or IP address; give the port as serviceEntryPointPort');
  }
}

function readImagePart(value: string): string {
  return matching(value, imagePart, 'part of an image reference');
}

function matching(value: string, pattern: RegExp, what: string): string {
  if (!pattern.test(value)) throw new Error(`is not ${what}`);
  return value;
}
