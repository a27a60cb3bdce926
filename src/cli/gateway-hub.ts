import process from 'node:process';
import { KubeTokenAuthenticator } from '../access/kube-token-authenticator.ts';
import { keyedDigest } from '../access/node/keyed-digest.ts';
import { kubeTokenReview } from '../access/node/kube-reviews.ts';
import type { TokenAuthenticator } from '../access/token-authenticator.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { ProxyEnvironment } from '../base/net/proxy-environment.ts';
import { LastGoodCa } from '../base/tls/last-good-ca.ts';
import { version } from '../base/version.ts';
import { inClusterConfig } from '../kube/client/in-cluster-config.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import { kubeconfigFile } from '../kube/client/kubeconfig-file.ts';
import { RestKubeApi } from '../kube/client/rest-kube-api.ts';

/** How the gateway reaches the hub's API server: as its pod, or with a kubeconfig. */
export type GatewayHubAccess =
  | { readonly from: 'pod' }
  | { readonly from: 'kubeconfig'; readonly path: string };

/** The hub cluster, for tokens and exposed Services. */
export interface GatewayHub extends Disposable {
  readonly api: KubeApi;
  readonly tokens: TokenAuthenticator;
}

/** Opens a client of the hub's API server. A server that does not answer is no error. */
export function openGatewayHub(
  access: GatewayHubAccess,
  {
    proxies,
    clock,
    log,
  }: {
    readonly proxies: ProxyEnvironment | undefined;
    readonly clock: Clock;
    readonly log: Logger;
  },
): GatewayHub {
  const ca = new LastGoodCa("CA of the hub's API server for the gateway", log);
  const config =
    access.from === 'pod'
      ? inClusterConfig(process.env, { ca })
      : kubeconfigFile(access.path, { ca });
  const api = new RestKubeApi({ config, fieldManager: `culvert-gateway/${version}`, proxies });
  const review = kubeTokenReview(api);
  return {
    api,
    tokens: new KubeTokenAuthenticator({
      source: 'hub-token',
      review: () => review,
      digest: keyedDigest,
      clock,
    }),
    [Symbol.dispose]: () => api.close(),
  };
}
