import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef } from '../../kube/client/kube-ref.ts';
import { type Fields, fields, items, text, textMap } from './fields.ts';
import { isSameKind } from './config-reference.ts';
import type { ManagedClusterAddOn } from './managed-cluster-addon.ts';
import { configKinds } from './names.ts';

/** OCM's settings for the agents of some clusters. */
export type AddOnDeploymentConfig = Readonly<ReturnType<typeof parseAddOnDeploymentConfig>>;
export type ImageMirror = Readonly<ReturnType<typeof parseImageMirror>>;

export function parseAddOnDeploymentConfig(object: KubeObject) {
  const spec = fields(object.spec);
  const proxy = fields(spec.proxyConfig);
  const placement = spec.nodePlacement === undefined ? undefined : fields(spec.nodePlacement);
  return {
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name,
    /** Empty: not set. The API server fills in a default of OCM, so it is seldom empty. */
    agentInstallNamespace: text(spec.agentInstallNamespace),
    customizedVariables: items(spec.customizedVariables).map(({ name, value }) => ({
      name: text(name),
      value: text(value),
    })),
    /**
     * If present, it replaces the default as a whole. An empty placement means any node and no
     * toleration.
     */
    nodePlacement: placement && {
      nodeSelector: textMap(placement.nodeSelector),
      tolerations: items(placement.tolerations),
    },
    proxyConfig: {
      httpProxy: text(proxy.httpProxy),
      httpsProxy: text(proxy.httpsProxy),
      noProxy: text(proxy.noProxy),
      /** Base64 of PEM. */
      caBundle: text(proxy.caBundle),
    },
    registries: items(spec.registries).map(parseImageMirror),
    resourceRequirements: items(spec.resourceRequirements).map((item) => ({
      /** `deployments:NAME:CONTAINER`, with wildcards. */
      containerId: text(item.containerID),
      resources: fields(item.resources),
    })),
  };
}

export function parseImageMirror({ source, mirror }: Fields) {
  return { source: text(source), mirror: text(mirror) };
}

/** `AddOnDeploymentConfig ns/name`, as sentences name it. */
export function describeDeploymentConfig(
  config: Pick<AddOnDeploymentConfig, 'namespace' | 'name'>,
): string {
  return `AddOnDeploymentConfig ${config.namespace}/${config.name}`;
}

/** The result of looking up the AddOnDeploymentConfig. */
export type DeploymentConfigFound = Readonly<ReturnType<typeof findDeploymentConfig>>;

/** @param cache the AddOnDeploymentConfigs of the hub, by `namespace/name` */
export function findDeploymentConfig(
  addon: ManagedClusterAddOn,
  cache: { get(key: string): KubeObject | undefined },
) {
  const referent = addon.configReferences.find((reference) =>
    isSameKind(reference, configKinds.deploymentConfig),
  )?.desired;
  if (referent === undefined) return { kind: 'none' } as const;
  const object = cache.get(`${referent.namespace}/${referent.name}`);
  if (object) return { kind: 'found', config: parseAddOnDeploymentConfig(object) } as const;
  const message = `${describeRef(addon.ref)} refers to ${describeDeploymentConfig(referent)}, which does not exist; create it or remove the reference`;
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
export function installNamespaceOf(found: DeploymentConfigFound, defaultInstallNamespace: string) {
  if (found.kind === 'missing') return undefined;
  const asked = found.kind === 'found' ? found.config.agentInstallNamespace : '';
  return asked === '' ? defaultInstallNamespace : asked;
}
