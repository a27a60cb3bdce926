import { describeError } from '../../base/error.ts';
import { type ImageMirror, parseImageMirror } from '../api/addon-deployment-config.ts';
import type { Diagnostics } from '../api/diagnostics.ts';
import { fields, items } from '../api/fields.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { annotations } from '../api/names.ts';
import type { AgentVariables } from '../compat/customized-variables.ts';

/**
 * The image of the agent: the image of the fleet through a mirror, unless variables name another
 * image or parts of one. Mirrors do not apply to variables, because their author knows which images
 * the cluster can pull.
 */
export function agentImage(
  image: string,
  registries: readonly ImageMirror[],
  cluster: ManagedCluster,
  variables: AgentVariables,
  diagnostics: Diagnostics,
): string {
  if (variables.proxyAgentImage !== undefined) return variables.proxyAgentImage;
  const byConfig = throughMirrors(image, registries);
  // When the mirrors of the configuration change nothing, those of the cluster count.
  const isMirrored = byConfig !== image;
  const parts = splitImage(
    isMirrored ? byConfig : throughMirrors(image, clusterMirrors(cluster, diagnostics)),
  );
  const registry = variables.registry ?? parts.registry;
  const name = variables.image ?? parts.name;
  const version = variables.tag === undefined ? parts.version : `:${variables.tag}`;
  return `${registry === '' ? '' : `${registry}/`}${name}${version}`;
}

function clusterMirrors(cluster: ManagedCluster, diagnostics: Diagnostics): readonly ImageMirror[] {
  const annotation = cluster.annotations[annotations.imageRegistries];
  if (annotation === undefined || annotation === '') return [];
  try {
    return items(fields(JSON.parse(annotation)).registries).map(parseImageMirror);
  } catch (thrown) {
    diagnostics.problems.push(
      `ManagedCluster ${cluster.name}: its annotation ${annotations.imageRegistries} is not JSON (${describeError(thrown)}); correct or remove it`,
    );
    return [];
  }
}

/**
 * Follows OCM's rule: the last mirror whose source is a prefix of the image wins. An empty source
 * matches any registry.
 */
function throughMirrors(image: string, mirrors: readonly ImageMirror[]): string {
  const matching = mirrors.findLast(
    ({ source, mirror }) => mirror !== '' && image.startsWith(withoutSlash(source)),
  );
  if (matching === undefined) return image;
  const source = withoutSlash(matching.source);
  const mirror = withoutSlash(matching.mirror);
  if (source === '') return `${mirror}/${image.slice(image.lastIndexOf('/') + 1)}`;
  return `${mirror}${image.slice(source.length)}`;
}

function withoutSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
}

/**
 * Splits an image. `version` is `:TAG`, `@DIGEST`, both, or empty. A colon before the last slash
 * precedes a port.
 */
function splitImage(image: string): { registry: string; name: string; version: string } {
  const slash = image.lastIndexOf('/');
  const rest = image.slice(slash + 1);
  const end = rest.search(/[:@]/);
  return {
    registry: slash < 0 ? '' : image.slice(0, slash),
    name: end < 0 ? rest : rest.slice(0, end),
    version: end < 0 ? '' : rest.slice(end),
  };
}
