import { describeError } from '../../base/error.ts';
import {
  type ImageMirror,
  parseImageMirror,
  type AddOnDeploymentConfig,
  describeDeploymentConfig,
} from '../api/addon-deployment-config.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { fields, items, type Fields, isFields, textMap } from '../api/fields.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { annotations, labels } from '../api/names.ts';
import type { AgentVariables } from '../compat/customized-variables.ts';
import { agentContainerName, agentDeploymentName } from './agent-names.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import { pemBlocks, pemOf } from '../../base/x509/pem-blocks.ts';

/** The sources of the settings of one cluster's agent. */
export interface AgentSources {
  readonly cluster: ManagedCluster;
  /** Empty: the cluster has none. */
  readonly config: AddOnDeploymentConfig;
  /** The variables in `config`. */
  readonly variables: AgentVariables;
  readonly diagnostics: Diagnostics;
}

/**
 * The image of the agent: the image of the fleet through a mirror, unless variables name another
 * image or parts of one. Mirrors do not apply to variables, because their author knows which images
 * the cluster can pull.
 */
export function agentImage(image: string, sources: AgentSources): string {
  const { config, variables } = sources;
  if (variables.proxyAgentImage !== undefined) return variables.proxyAgentImage;
  const byConfig = throughMirrors(image, config.registries);
  // When the mirrors of the configuration change nothing, those of the cluster count.
  const isMirrored = byConfig !== image;
  const parts = splitImage(isMirrored ? byConfig : throughMirrors(image, clusterMirrors(sources)));
  const registry = variables.registry ?? parts.registry;
  const name = variables.image ?? parts.name;
  const version = variables.tag === undefined ? parts.version : `:${variables.tag}`;
  return `${registry === '' ? '' : `${registry}/`}${name}${version}`;
}

function clusterMirrors(sources: AgentSources): readonly ImageMirror[] {
  const name = annotations.imageRegistries;
  if (sources.cluster.annotations[name] === '') return [];
  const read = (json: unknown) => items(fields(json).registries).map(parseImageMirror);
  return readAnnotation(sources, name, 'JSON', read) ?? [];
}

/**
 * Follows OCM's rule: the last mirror whose source is a prefix of the image wins. An empty source
 * matches any registry.
 */
function throughMirrors(image: string, mirrors: readonly ImageMirror[]): string {
  const bare = (registry: string) => registry.replace(/\/$/, '');
  const found = mirrors.findLast((one) => bare(one.mirror) && image.startsWith(bare(one.source)));
  if (found === undefined) return image;
  const [source, mirror] = [bare(found.source), bare(found.mirror)];
  if (source === '') return `${mirror}/${image.slice(image.lastIndexOf('/') + 1)}`;
  return `${mirror}${image.slice(source.length)}`;
}

/**
 * Splits an image. `version` is `:TAG`, `@DIGEST`, both, or empty. A colon before the last slash
 * precedes a port.
 */
function splitImage(image: string) {
  const slash = image.lastIndexOf('/');
  const registry = slash < 0 ? '' : image.slice(0, slash);
  const [name = ''] = image.slice(slash + 1).split(/[:@]/, 1);
  return { registry, name, version: image.slice(slash + 1 + name.length) };
}

/** The agent may run on nodes that are reserved for infrastructure. */
const defaultTolerations: readonly Fields[] = [
  { key: 'dedicated', operator: 'Equal', value: 'infra', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/infra', operator: 'Exists', effect: 'NoSchedule' },
];

/**
 * The placement of a configuration replaces the default as a whole. An empty one means any node and
 * no toleration.
 */
export function nodePlacementOf(sources: AgentSources) {
  const nodeSelector = localClusterSelector(sources);
  return sources.config.nodePlacement ?? { nodeSelector, tolerations: defaultTolerations };
}

/** When the hub manages itself, its installer names suitable nodes in an annotation. */
function localClusterSelector(sources: AgentSources): Readonly<Record<string, string>> {
  const isLocal = sources.cluster.labels[labels.localCluster]?.toLowerCase() === 'true';
  const needed = 'a JSON object of strings';
  if (!isLocal) return {};
  return readAnnotation(sources, annotations.nodeSelector, needed, readSelector) ?? {};
}

/** @throws Error */
function readSelector(json: unknown): Readonly<Record<string, string>> {
  if (!isFields(json)) throw new Error('it is not an object');
  const selector = textMap(json);
  const isWhole = Object.keys(selector).length === Object.keys(json).length;
  if (!isWhole) throw new Error('a value is not a string');
  return selector;
}

/**
 * Reads an annotation of a cluster with JSON. Undefined: there is none, or it is wrong, which is a
 * problem.
 */
function readAnnotation<T>(
  { cluster, diagnostics }: AgentSources,
  name: string,
  needed: string,
  read: (json: unknown) => T,
) {
  const annotation = cluster.annotations[name];
  if (annotation === undefined) return undefined;
  try {
    return read(JSON.parse(annotation));
  } catch (thrown) {
    const problem = `its annotation ${name} is not ${needed} (${describeError(thrown)})`;
    diagnostics.problems.push(`ManagedCluster ${cluster.name}: ${problem}; correct or remove it`);
    return undefined;
  }
}

/**
 * There are no limits, because a busy agent needs memory for its windows, and a killed agent ends
 * every stream of its cluster.
 */
const defaultResources: Fields = { requests: { cpu: '20m', memory: '96Mi' } };

/** The requirements of the last entry whose containerID matches the agent's container. */
export function agentResources({ resourceRequirements }: AddOnDeploymentConfig): Fields {
  const matching = resourceRequirements.findLast(({ containerId }) => isAgent(containerId));
  return matching?.resources ?? defaultResources;
}

/** The well-known name of the Deployment counts, even when a variable renames the Deployment. */
const containerPath = `deployments:${agentDeploymentName}:${agentContainerName}`;

/** @param containerId may have wildcards between its colons */
function isAgent(containerId: string): boolean {
  const literals = containerId.split('*').map((part) => RegExp.escape(part));
  return new RegExp(`^${literals.join('[^:]*')}$`).test(containerPath);
}

/**
 * The CAs that the agent trusts, in PEM: those of the addon and, behind a proxy, those of the
 * proxy. The latter apply to a proxy that is reached over TLS, and to the entrypoint, because a
 * proxy that inspects TLS shows its own certificate for the broker's name.
 *
 * @param isDirect whether agents connect to an entrypoint. Otherwise they connect through the hub's
 *   kube-apiserver, whose CAs are in the kubeconfig from the klusterlet
 */
export function trustedCertificates(
  caBundle: string,
  isDirect: boolean,
  { config, diagnostics }: AgentSources,
): string {
  if (config.proxyConfig.caBundle === '') return caBundle;
  const { httpProxy, httpsProxy } = config.proxyConfig;
  const where = `${describeDeploymentConfig(config)}: spec.proxyConfig.caBundle`;
  const useless = uselessBecause(httpProxy, httpsProxy, isDirect);
  if (useless !== undefined) {
    diagnostics.notices.push(`${where} has no effect, ${useless}`);
    return caBundle;
  }
  const given = Buffer.from(config.proxyConfig.caBundle, 'base64').toString('utf8');
  try {
    const blocks = [caBundle, readCaCertificates(given, 'servers')].flatMap(pemBlocks);
    return [...new Set(blocks.map(({ label, der }) => pemOf(label, der)))].join('');
  } catch (thrown) {
    diagnostics.problems.push(
      `${where} cannot be used: ${describeError(thrown)}; encode it as base64 once`,
    );
    return caBundle;
  }
}

function uselessBecause(httpProxy: string, httpsProxy: string, isDirect: boolean) {
  if ([httpProxy, httpsProxy].some((url) => /^https:/i.test(url))) return undefined;
  // wss:// goes through httpsProxy alone.
  if (httpsProxy === '') return 'there is no httpsProxy';
  if (isDirect) return undefined;
  return "agents go through the hub's kube-apiserver, and trust it by the kubeconfig of the klusterlet; give the klusterlet this CA";
}
