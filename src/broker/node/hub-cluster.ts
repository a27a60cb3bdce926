import process from 'node:process';
import { systemClock } from '../../base/clock.ts';
import { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { ProxyEnvironment } from '../../base/net/proxy-environment.ts';
import { version } from '../../base/version.ts';
import { inClusterConfig } from '../../kube/client/in-cluster-config.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import { kubeconfigFile } from '../../kube/client/kubeconfig-file.ts';
import { RestKubeApi } from '../../kube/client/rest-kube-api.ts';
import { KubeTokenReviewer } from './kube-token-reviewer.ts';
import { ManagedClusters } from '../../access/node/managed-clusters.ts';
import type { HubAccess } from './options.ts';

/** What a broker asks the hub cluster's API server. */
export interface HubCluster extends AsyncDisposable {
  readonly reviewer: KubeTokenReviewer;
  readonly clusters: ManagedClusters;
  readonly api: KubeApi;
  /** The CA of the API server's certificate. */
  readonly ca: LastGoodCa;
}

/** Starts to watch the hub cluster. An API server that does not answer is no error. */
export function openHubCluster(
  access: HubAccess,
  proxies: ProxyEnvironment | undefined,
  log: Logger,
): HubCluster {
  const ca = new LastGoodCa("CA of the hub's API server", log);
  const config =
    access.from === 'pod'
      ? inClusterConfig(process.env, { ca })
      : kubeconfigFile(access.path, { ca });
  const fieldManager = `culvert-broker/${version}`;
  const api = new RestKubeApi({ config, fieldManager, proxies });
  const clusters = new ManagedClusters(api, { clock: systemClock, log });
  return {
    reviewer: new KubeTokenReviewer(api),
    clusters,
    api,
    ca,
    async [Symbol.asyncDispose]() {
      await clusters.close();
      api.close();
    },
  };
}
