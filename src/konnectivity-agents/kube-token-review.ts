import process from 'node:process';
import type { Logger } from '../base/log/logger.ts';
import type { ProxyEnvironment } from '../base/net/proxy-environment.ts';
import { LastGoodCa } from '../base/tls/last-good-ca.ts';
import { version } from '../base/version.ts';
import { inClusterConfig } from '../kube/client/in-cluster-config.ts';
import type { KubeApi, NewKubeObject } from '../kube/client/kube-api.ts';
import type { KubeObject } from '../kube/client/kube-object.ts';
import { kubeconfigFile } from '../kube/client/kubeconfig-file.ts';
import { RestKubeApi } from '../kube/client/rest-kube-api.ts';
import type { ReviewToken } from './agent-authenticator.ts';

const timeoutMs = 5_000;

interface TokenReview extends KubeObject {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly error?: string;
    readonly user?: { readonly username?: string };
  };
}

/**
 * Opens a client of the API server that reviews the agents' tokens and has the Leases of servers:
 * that of the pod, or that of a kubeconfig. An API server that does not answer is no error.
 *
 * @param kubeconfig the path of the kubeconfig; undefined: as the pod that the process runs in
 */
export function openAgentsKubeApi(
  kubeconfig: string | undefined,
  proxies: ProxyEnvironment | undefined,
  log: Logger,
): RestKubeApi {
  const ca = new LastGoodCa("CA of the API server that reviews agents' tokens", log);
  const config =
    kubeconfig === undefined
      ? inClusterConfig(process.env, { ca })
      : kubeconfigFile(kubeconfig, { ca });
  const fieldManager = `culvert-konnectivity-agents/${version}`;
  return new RestKubeApi({ config, fieldManager, proxies });
}

/** Reviews tokens at an API server. */
export function kubeTokenReview(api: KubeApi): ReviewToken {
  return async (token, audience) => {
    const review: NewKubeObject = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [audience] },
    };
    const options = { signal: new AbortController().signal, timeoutMs };
    const { status } = await api.create<TokenReview>(review, options);
    return {
      authenticated: status?.authenticated === true,
      username: status?.user?.username ?? '',
      error: status?.error ?? '',
    };
  };
}
