import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import { isSameKind } from '../api/config-reference.ts';
import { describeAddOn, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { configKinds } from '../api/names.ts';

/** The result of looking up the AddOnDeploymentConfig. */
export type DeploymentConfigFound = Readonly<ReturnType<typeof findDeploymentConfig>>;

/** @param find looks into a cache: `namespace`, `name` */
export function findDeploymentConfig(
  addon: ManagedClusterAddOn,
  find: (namespace: string, name: string) => AddOnDeploymentConfig | undefined,
) {
  const referent = addon.configReferences.find((reference) =>
    isSameKind(reference, configKinds.deploymentConfig),
  )?.desired;
  if (referent === undefined) return { kind: 'none' } as const;
  const config = find(referent.namespace, referent.name);
  if (config !== undefined) return { kind: 'found', config } as const;
  const message = `${describeAddOn(addon)} refers to ${describeDeploymentConfig(referent)}, which does not exist; create it or remove the reference`;
  // Defaults instead could move the agent to another namespace.
  return { kind: 'missing', message } as const;
}

/**
 * The namespace of the agent. A configuration overrides the default. The API server fills in
 * `open-cluster-management-agent-addon`, so a configuration that should not move the agent must
 * name its namespace.
 *
 * @returns undefined when the configuration is missing, so that the agent stays where it is
 */
export function installNamespaceOf(
  found: DeploymentConfigFound,
  defaultInstallNamespace: string,
): string | undefined {
  if (found.kind === 'missing') return undefined;
  const asked = found.kind === 'found' ? found.config.agentInstallNamespace : '';
  return asked === '' ? defaultInstallNamespace : asked;
}
