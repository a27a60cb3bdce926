import type { Labels } from '../../access/label-selector.ts';
import type { AccessReviewStatus, ReviewAccess } from '../../access/subject-access-review.ts';
import type { ReviewToken, TokenReviewStatus } from '../../access/token-review.ts';
import { boundedText } from './bounded-text.ts';

/** What the gateway asks the hub cluster's API server. */
export interface HubServer {
  readonly reviewToken: ReviewToken;
  readonly reviewAccess: ReviewAccess;
  /**
   * The labels of a ManagedCluster; undefined: the hub does not have it.
   *
   * @throws Error no answer
   */
  readonly readLabels: (cluster: string, signal: AbortSignal) => Promise<Labels | undefined>;
  /**
   * The data of a ConfigMap; undefined: it does not exist.
   *
   * @throws Error no answer
   */
  readonly readConfigMap: (
    configMap: ConfigMapName,
    signal: AbortSignal,
  ) => Promise<Readonly<Record<string, string>> | undefined>;
}

export interface ConfigMapName {
  readonly namespace: string;
  readonly name: string;
}

/** A longer answer is not one of an API server. */
const maxAnswerBytes = 256 * 1024;

/** The data of a ConfigMap have at most 1 MiB, and each of its quotes has two bytes in an answer. */
const maxConfigMapBytes = 3 * 1024 * 1024;

/**
 * Reaches the hub cluster's API server by `fetch`. The runtime verifies its certificate against
 * public CAs only.
 */
export function openHubServer(server: { readonly url: URL; readonly token: string }): HubServer {
  const base = server.url.href.replace(/\/$/, '');
  const headers = { Authorization: `Bearer ${server.token}`, Accept: 'application/json' };
  const ask = async (
    path: string,
    init: RequestInit,
    what: string,
    maxBytes = maxAnswerBytes,
  ): Promise<Readonly<Record<string, unknown>> | undefined> => {
    // Another server must not get the token.
    const response = await fetch(`${base}${path}`, { redirect: 'manual', ...init });
    const { status } = response;
    const isMissing = status === 404 && init.method === 'GET';
    if (isMissing || (status !== 200 && status !== 201)) {
      const text = isMissing
        ? await boundedText(response, maxBytes)
        : await response.body?.cancel();
      // A server without ManagedClusters answers 404 as well, but names no object.
      if (isMissing && /"name":\s*"/.test(text ?? '')) return undefined;
      throw new Error(`the hub's API server answered ${status} to ${what}`);
    }
    const text = await boundedText(response, maxBytes);
    if (text === undefined) throw new Error(`the answer to ${what} is too long`);
    return (JSON.parse(text) as Readonly<Record<string, unknown>> | null) ?? {};
  };
  const create = async (
    group: string,
    kind: string,
    spec: object,
    signal: AbortSignal,
  ): Promise<unknown> => {
    const init = {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ apiVersion: `${group}/v1`, kind, spec }),
      signal,
    };
    const answer = await ask(`/apis/${group}/v1/${kind.toLowerCase()}s`, init, `a ${kind}`);
    return answer?.['status'];
  };
  return {
    async reviewToken(token, audiences, signal) {
      const spec = { token, ...(audiences.length === 0 ? {} : { audiences }) };
      const status = await create('authentication.k8s.io', 'TokenReview', spec, signal);
      return status as TokenReviewStatus | undefined;
    },
    async reviewAccess(spec, signal) {
      const status = await create('authorization.k8s.io', 'SubjectAccessReview', spec, signal);
      return status as AccessReviewStatus | undefined;
    },
    async readLabels(cluster, signal) {
      const path = `/apis/cluster.open-cluster-management.io/v1/managedclusters/${cluster}`;
      const found = await ask(path, { method: 'GET', headers, signal }, 'a ManagedCluster');
      if (found === undefined) return undefined;
      const { labels } = (found['metadata'] ?? {}) as { readonly labels?: Labels };
      return labels ?? {};
    },
    async readConfigMap({ namespace, name }, signal) {
      const path = `/api/v1/namespaces/${namespace}/configmaps/${name}`;
      const init = { method: 'GET', headers, signal };
      const found = await ask(path, init, 'a ConfigMap', maxConfigMapBytes);
      if (found === undefined) return undefined;
      return (found['data'] ?? {}) as Readonly<Record<string, string>>;
    },
  };
}
