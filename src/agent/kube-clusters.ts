import process from 'node:process';
import { LastGoodCa } from '../base/tls/last-good-ca.ts';
import type { Logger } from '../base/log/logger.ts';
import type { FileStatus } from '../base/files/reloaded-files.ts';
import { version } from '../base/version.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import type { KubeConfig } from '../kube/client/kube-endpoint.ts';
import type { AgentOptions } from './options.ts';

/** The API servers that an agent has to do with, as far as it needs them. */
export interface KubeClusters {
  /** The one of the cluster that it runs in. */
  readonly here: KubeApi | undefined;
  readonly hub: KubeApi | undefined;
  readonly hubConfig: KubeConfig | undefined;
  /** How the CAs of the API servers are doing. */
  readonly files: readonly FileStatus[];
  /** Idempotent. */
  close(): void;
}

const none: KubeClusters = {
  here: undefined,
  hub: undefined,
  hubConfig: undefined,
  files: [],
  close() {},
};

/** Loads the Kubernetes client only if the options need it. @param ca the contents of --ca-file */
export async function connectClusters(
  options: AgentOptions,
  ca: LastGoodCa,
  log: Logger,
): Promise<KubeClusters> {
  const { hubKubeconfig, lease, proxies, caFile } = options;
  const hubCa = new LastGoodCa('CA of --hub-kubeconfig', log);
  const hereCa = new LastGoodCa("CA of the pod's ServiceAccount", log);
  if (hubKubeconfig === undefined && lease === undefined) return none;
  const { kubeconfigFile } = await import('../kube/client/kubeconfig-file.ts');
  const { inClusterConfig } = await import('../kube/client/in-cluster-config.ts');
  const { RestKubeApi } = await import('../kube/client/rest-kube-api.ts');
  const fieldManager = `culvert-agent/${version}`;
  const hubConfig =
    hubKubeconfig === undefined ? undefined : kubeconfigFile(hubKubeconfig, { ca: hubCa });
  const hub =
    hubConfig === undefined || lease === undefined
      ? undefined
      : new RestKubeApi({
          config: hubConfig,
          fieldManager,
          proxies,
          proxyCa: caFile === undefined ? undefined : () => ca.readFile(caFile),
        });
  // Beside us in the same cluster: the proxies are for the way out of it.
  const here =
    lease === undefined
      ? undefined
      : new RestKubeApi({ config: inClusterConfig(process.env, { ca: hereCa }), fieldManager });
  return {
    here,
    hub,
    hubConfig,
    files: [hubCa, hereCa],
    close() {
      here?.close();
      hub?.close();
    },
  };
}
