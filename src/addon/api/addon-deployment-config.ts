import type { KubeObject } from '../../kube/client/kube-object.ts';
import { type Fields, fields, items, text, textMap } from './fields.ts';

/** OCM's settings for the agents of some clusters. */
export interface AddOnDeploymentConfig {
  readonly namespace: string;
  readonly name: string;
  /** Empty: not set. The API server fills in a default of OCM, so it is seldom empty. */
  readonly agentInstallNamespace: string;
  readonly customizedVariables: readonly { readonly name: string; readonly value: string }[];
  /** If present, it replaces the default as a whole. An empty placement means any node and no toleration. */
  readonly nodePlacement:
    | {
        readonly nodeSelector: Readonly<Record<string, string>>;
        readonly tolerations: readonly Fields[];
      }
    | undefined;
  readonly proxyConfig: {
    readonly httpProxy: string;
    readonly httpsProxy: string;
    readonly noProxy: string;
    /** Base64 of PEM. */
    readonly caBundle: string;
  };
  readonly registries: readonly ImageMirror[];
  readonly resourceRequirements: readonly {
    /** `deployments:NAME:CONTAINER`, with wildcards. */
    readonly containerId: string;
    readonly resources: Fields;
  }[];
}

export interface ImageMirror {
  readonly source: string;
  readonly mirror: string;
}

export function parseAddOnDeploymentConfig(object: KubeObject): AddOnDeploymentConfig {
  const spec = fields(object.spec);
  const proxy = fields(spec.proxyConfig);
  const placement = spec.nodePlacement === undefined ? undefined : fields(spec.nodePlacement);
  return {
    namespace: object.metadata.namespace ?? '',
    name: object.metadata.name,
    agentInstallNamespace: text(spec.agentInstallNamespace),
    customizedVariables: items(spec.customizedVariables).map(({ name, value }) => ({
      name: text(name),
      value: text(value),
    })),
    nodePlacement: placement && {
      nodeSelector: textMap(placement.nodeSelector),
      tolerations: items(placement.tolerations),
    },
    proxyConfig: {
      httpProxy: text(proxy.httpProxy),
      httpsProxy: text(proxy.httpsProxy),
      noProxy: text(proxy.noProxy),
      caBundle: text(proxy.caBundle),
    },
    registries: items(spec.registries).map(parseImageMirror),
    resourceRequirements: items(spec.resourceRequirements).map((item) => ({
      containerId: text(item.containerID),
      resources: fields(item.resources),
    })),
  };
}

export function parseImageMirror({ source, mirror }: Fields): ImageMirror {
  return { source: text(source), mirror: text(mirror) };
}

/** `AddOnDeploymentConfig ns/name`, as sentences name it. */
export function describeDeploymentConfig(config: {
  readonly namespace: string;
  readonly name: string;
}): string {
  return `AddOnDeploymentConfig ${config.namespace}/${config.name}`;
}
