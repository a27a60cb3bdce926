import { homedir } from 'node:os';
import { ConfigError } from '../base/options/option-problems.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { readProxyEnvironment } from '../base/net/proxy-environment.ts';
import { version } from '../base/version.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import { kubeconfigPaths } from '../kube/kubeconfig/kubeconfig-paths.ts';

/** How a command that a user starts reaches the API server of the hub. */
export const hubAccessTable = {
  hubKubeconfig: {
    name: 'hub-kubeconfig',
    kind: 'string',
    placeholder: 'FILE',
    help: 'A kubeconfig for the hub. Default: the file in KUBECONFIG; in a pod the ServiceAccount; otherwise ~/.kube/config.',
  },
  hubContext: {
    name: 'hub-context',
    kind: 'string',
    placeholder: 'NAME',
    help: 'The context of the hub in that kubeconfig. Default: its current context.',
  },
} as const satisfies OptionsTable;

/**
 * Opens a client for the hub. The caller closes it.
 *
 * @throws ConfigError KUBECONFIG names several files
 */
export async function openHub(
  values: OptionsOf<typeof hubAccessTable>,
  env: Env,
): Promise<KubeApi> {
  const { RestKubeApi } = await import('../kube/client/rest-kube-api.ts');
  const config = await configOf(values, env);
  const proxies = readProxyEnvironment(env);
  return new RestKubeApi({ config, fieldManager: `culvert/${version}`, proxies });
}

async function configOf({ hubKubeconfig, hubContext }: OptionsOf<typeof hubAccessTable>, env: Env) {
  const isInPod = Boolean(env['KUBERNETES_SERVICE_HOST']) && !env['KUBECONFIG'];
  if (hubKubeconfig === undefined && hubContext === undefined && isInPod) {
    const { inClusterConfig } = await import('../kube/client/in-cluster-config.ts');
    return inClusterConfig(env);
  }
  const { kubeconfigFile } = await import('../kube/client/kubeconfig-file.ts');
  return kubeconfigFile(hubKubeconfig ?? onlyPath(env), { context: hubContext });
}

function onlyPath(env: Env): string {
  const [path, ...others] = kubeconfigPaths(env, homeDirectory(env));
  if (others.length === 0) return path!;
  throw new ConfigError([
    'KUBECONFIG names several files, name the one that leads to the hub with --hub-kubeconfig',
  ]);
}

export function homeDirectory(env: Env): string {
  return env['HOME'] || homedir();
}
