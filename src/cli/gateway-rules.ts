import { AccessError } from '../access/access-error.ts';
import { kubeAccessReview } from '../access/node/kube-reviews.ts';
import { ManagedClusters } from '../access/node/managed-clusters.ts';
import { openRules, type Rules } from '../access/node/open-rules.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { ConfigError } from '../base/options/option-problems.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import type { GatewayProcessOptions } from './gateway-options.ts';

/** The rules of a gateway in a process of its own, and the clusters of its hub. */
export interface GatewayRules extends Omit<Rules, keyof Disposable>, AsyncDisposable {
  /** Whether the hub has accepted a cluster; undefined: not known. */
  readonly isKnownCluster: (cluster: string) => boolean | undefined;
}

export interface GatewayRulesParts {
  /** The API server of the hub; undefined: the gateway knows no hub. */
  readonly api: KubeApi | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

const labelsProblem =
  'without --kubernetes or --kubeconfig the gateway knows no labels. Name the clusters, or give it access to the hub.';

/**
 * Follows the ManagedClusters of the hub, and opens the rules, which may select clusters by their
 * labels.
 *
 * @throws ConfigError the policy selects clusters by labels, and there is no hub
 */
export async function openGatewayRules(
  { policyFile, hubAuthorization }: Pick<GatewayProcessOptions, 'policyFile' | 'hubAuthorization'>,
  { api, clock, log }: GatewayRulesParts,
): Promise<GatewayRules> {
  await using parts = new AsyncDisposableStack();
  const clusters = api && parts.use(new ManagedClusters(api, { clock, log }));
  try {
    const { authorizer, files } = parts.use(
      await openRules({
        policyFile,
        reviewAccess: api && hubAuthorization ? kubeAccessReview(api) : undefined,
        clusters,
        labelsProblem,
        clock,
        log,
      }),
    );
    const opened = parts.move();
    return {
      authorizer,
      files,
      isKnownCluster: (cluster) => clusters?.isAccepted(cluster),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  } catch (thrown) {
    if (!(thrown instanceof AccessError) || thrown.code !== 'labels_unknown') throw thrown;
    throw new ConfigError([`--policy-file: ${thrown.message}`]);
  }
}
