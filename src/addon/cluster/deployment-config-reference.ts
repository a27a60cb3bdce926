import {
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import { type ConfigReferent, isSameKind } from '../api/config-reference.ts';
import { describeAddOn, type ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { configKinds } from '../api/names.ts';

/** The AddOnDeploymentConfig that OCM wants for this cluster; undefined: none. */
export function deploymentConfigReferent(addon: ManagedClusterAddOn): ConfigReferent | undefined {
  return addon.configReferences.find((reference) =>
    isSameKind(reference, configKinds.deploymentConfig),
  )?.desired;
}

/** The same, looked up. */
export type DeploymentConfigFound =
  | { readonly t: 'none' }
  | { readonly t: 'found'; readonly config: AddOnDeploymentConfig }
  /** Referenced, but not there: guessing defaults would move the agent about. */
  | { readonly t: 'missing'; readonly message: string };

/** @param find looks into a cache: `namespace`, `name` */
export function findDeploymentConfig(
  addon: ManagedClusterAddOn,
  find: (namespace: string, name: string) => AddOnDeploymentConfig | undefined,
): DeploymentConfigFound {
  const referent = deploymentConfigReferent(addon);
  if (referent === undefined) return { t: 'none' };
  const config = find(referent.namespace, referent.name);
  if (config !== undefined) return { t: 'found', config };
  const message = `${describeAddOn(addon)} refers to ${describeDeploymentConfig(referent)}, which does not exist; create it or take the reference away`;
  return { t: 'missing', message };
}

/**
 * Where the agent lives. A configuration's word counts; and as the API server fills in `open-cluster-management-agent-addon` where it
 * says nothing, one that does not mean to move the agent must name the namespace.
 *
 * @returns undefined where the configuration is missing: it stays where it is
 */
export function installNamespaceOf(
  found: DeploymentConfigFound,
  defaultInstallNamespace: string,
): string | undefined {
  if (found.t === 'missing') return undefined;
  const asked = found.t === 'found' ? found.config.agentInstallNamespace : '';
  return asked === '' ? defaultInstallNamespace : asked;
}
