import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Fields, fields, items, text, textMap } from './fields.ts';

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
