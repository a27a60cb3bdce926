import { describeError } from '../../../src/base/error.ts';
import type { Ground, GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { waitFor, type WaitOptions } from '../../../testkit/ground/kubernetes/wait.ts';
import { addon, hubNamespace, installNamespace } from './names.ts';

const logLines = 12;
const columns = 'custom-columns=NAME:.metadata.name,AGE:.metadata.creationTimestamp';
const conditions =
  'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{range .status.conditions[*]}{"\\n  "}{.type}={.status} {.reason} {.message}{end}{"\\n"}{end}';

/** `waitFor` whose failure tells the state of the clusters. */
export async function eventually<T>(
  ground: Ground,
  attempt: () => Promise<T | false | undefined>,
  options: WaitOptions,
): Promise<T> {
  try {
    return await waitFor(attempt, { pollMs: 250, ...options });
  } catch (error) {
    const { message, cause } = error as Error;
    const last = cause === undefined ? '' : `\nlast: ${describeError(cause)}`;
    // The report of a test shows a message in full, and little of a cause.
    throw new Error(`${message}${last}\n${await stateOf(ground)}`, { cause: error });
  }
}

/** Pods, conditions and the last lines of logs, of the hub and of every managed cluster. */
export async function stateOf(ground: Ground): Promise<string> {
  const { hub, managed } = ground;
  const parts = await Promise.all([
    part('configuration', hub, ['get', 'managedproxyconfigurations', '-o', conditions]),
    part('addons', hub, ['get', 'managedclusteraddons', '-A', '-o', conditions]),
    part('works', hub, ['get', 'manifestworks', '-A', '-o', conditions]),
    part('requests', hub, ['get', 'csr']),
    part('pods', hub, ['-n', hubNamespace, 'get', 'pods', '-o', 'wide']),
    ...['cluster-proxy-addon-manager', addon].map((name) => logsOf(hub, hubNamespace, name)),
    ...managed.flatMap((cluster) => [
      part('pods', cluster, ['-n', installNamespace, 'get', 'pods', '-o', 'wide']),
      part('secrets', cluster, ['-n', installNamespace, 'get', 'secrets', '-o', columns]),
      logsOf(cluster, installNamespace, 'cluster-proxy-proxy-agent'),
      warningsOf(cluster),
    ]),
    warningsOf(hub),
  ]);
  return parts.join('\n');
}

function logsOf(cluster: GroundCluster, namespace: string, deployment: string): Promise<string> {
  const which = `--tail=${logLines}`;
  const args = ['-n', namespace, 'logs', `deployment/${deployment}`, '--all-pods', which];
  return part(`log of ${deployment}`, cluster, args);
}

function warningsOf(cluster: GroundCluster): Promise<string> {
  const select = ['--field-selector=type=Warning', '--sort-by=.lastTimestamp'];
  return part('warnings', cluster, ['get', 'events', '-A', ...select]).then((text) =>
    text
      .split('\n')
      .filter((_line, at, all) => at < 2 || at >= all.length - logLines)
      .join('\n'),
  );
}

async function part(what: string, cluster: GroundCluster, args: string[]): Promise<string> {
  const text = await cluster.kubectl(args, { timeoutMs: 10_000 }).catch(String);
  return `--- ${cluster.name}: ${what}\n${text.trimEnd()}`;
}
