import { describeError } from '../../base/error.ts';
import { didYouMean } from '../../base/options/option-problems.ts';
import { parseBoolean, parseInteger } from '../../base/options/option-parsers.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { parseHostPort } from '../../base/net/host-port.ts';
import { oidcReaders } from './oidc-variables.ts';

const maxReplicas = 100;
const dnsName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const imagePart = /^[A-Za-z0-9][-\w.:/@]*$/;

const matching = (pattern: RegExp, what: string) => (value: string) => {
  if (!pattern.test(value)) throw new Error(`is not ${what}`);
  return value;
};
const readImagePart = matching(imagePart, 'part of an image reference');

/** Reads a boolean as Go does, which Cluster Proxy's chart accepts. */
export function readGoBoolean(value: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
  throw new Error('is neither true nor false');
}

/** The readers of variables that the agent supports. They throw a sentence about a wrong value. */
const readers = {
  replicas: (value: string) => parseInteger(value, 0, maxReplicas),
  enableKubeApiProxy: parseBoolean,
  enableServiceProxy: readGoBoolean,
  enableImpersonation: readGoBoolean,
  additionalServiceCAConfigMap: matching(dnsName, 'a name for a ConfigMap'),
  serviceDomain: matching(dnsName, 'a DNS domain such as svc.cluster.local'),
  serviceEntryPoint: readHost,
  serviceEntryPointPort: (value: string) => parseInteger(value, 1, 65_535),
  agentDeploymentName: matching(dnsName, 'a name for a Deployment'),
  proxyAgentImage: readImagePart,
  registry: readImagePart,
  image: readImagePart,
  tag: readImagePart,
  ...oidcReaders,
};

/** The variables in a configuration. */
export type AgentVariables = {
  -readonly [Name in keyof typeof readers]?: ReturnType<(typeof readers)[Name]>;
};

/** Variables of Cluster Proxy's charts that have no effect here, with the reason. */
const withoutEffect: Readonly<Record<string, string>> = {
  agentIdentifiers: 'names lead to a cluster by its certificate, no agent can claim others',
  serviceProxyHost: 'names lead to a cluster by its certificate, no agent can claim others',
  includeNamespaceCreation: 'the namespace is always part of the manifests',
  base64EncodedCAData: 'the addon distributes its certificate authorities itself',
  spokeAddonNamespace: 'spec.agentInstallNamespace names the namespace',
  clusterName: 'the cluster is that of the ManagedClusterAddOn',
  addonInstallNamespace: 'spec.agentInstallNamespace names the namespace',
  installMode: 'there is one mode',
};

/**
 * Reads `customizedVariables`. A wrong value is a problem, because a typing error must not become a
 * default. An unknown name is a notice, because several addons can share a configuration.
 *
 * @param where the name of the AddOnDeploymentConfig for messages
 */
export function readVariables(
  given: readonly { readonly name: string; readonly value: string }[],
  where: string,
  diagnostics: Diagnostics,
): AgentVariables {
  const variables: Record<string, unknown> = {};
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
  // An IPv6 address can be without brackets, as in Cluster Proxy's flag, or with them, as in URLs.
  const isBare = value.includes(':') && !value.startsWith('[');
  try {
    return parseHostPort(isBare ? `[${value}]:1` : `${value}:1`).host;
  } catch {
    throw new Error('is not a host name or IP address; give the port as serviceEntryPointPort');
  }
}
