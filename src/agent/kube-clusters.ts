import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { version } from '../base/version.ts';
import type { KubeApi } from '../kube/kube-api.ts';
import type { KubeConfig } from '../kube/kube-endpoint.ts';
import type { AgentOptions } from './options.ts';

/** The API servers that an agent has to do with, as far as it needs them. */
export interface KubeClusters {
  /** The one of the cluster that it runs in. */
  readonly here: KubeApi | undefined;
  readonly hub: KubeApi | undefined;
  readonly hubConfig: KubeConfig | undefined;
  /** Idempotent. */
  close(): void;
}

const none: KubeClusters = { here: undefined, hub: undefined, hubConfig: undefined, close() {} };

/** An agent that knows nothing of Kubernetes loads none of it. */
export async function connectClusters(options: AgentOptions): Promise<KubeClusters> {
  const { hubKubeconfig, lease, proxies, caFile } = options;
  if (hubKubeconfig === undefined && lease === undefined) return none;
  const { kubeconfigFile } = await import('../kube/kubeconfig-file.ts');
  const { inClusterConfig } = await import('../kube/in-cluster-config.ts');
  const { RestKubeApi } = await import('../kube/rest-kube-api.ts');
  const fieldManager = `culvert-agent/${version}`;
  const hubConfig = hubKubeconfig === undefined ? undefined : kubeconfigFile(hubKubeconfig);
  const hub =
    hubConfig === undefined || lease === undefined
      ? undefined
      : new RestKubeApi({
          config: hubConfig,
          fieldManager,
          proxies,
          proxyCa: caFile === undefined ? undefined : () => readFile(caFile, 'utf8'),
        });
  // Beside us in the same cluster: the proxies are for the way out of it.
  const here =
    lease === undefined
      ? undefined
      : new RestKubeApi({ config: inClusterConfig(process.env), fieldManager });
  return {
    here,
    hub,
    hubConfig,
    close() {
      here?.close();
      hub?.close();
    },
  };
}
