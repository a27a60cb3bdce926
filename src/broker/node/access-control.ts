import { kubeAccessReview } from '../../access/node/kube-reviews.ts';
import { openRules } from '../../access/node/open-rules.ts';
import type { WatchedAuthorizer } from '../../access/watched-authorizer.ts';
import { systemClock } from '../../base/clock.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { Authenticator } from '../authenticator.ts';
import { DialerAccess } from '../dialer-access.ts';
import { ClusterAdmission } from '../cluster-admission.ts';
import type { Relay } from '../relay.ts';
import { ReplicaAuthenticator } from '../replica-authenticator.ts';
import { type Credentials, openCredentials } from './credentials.ts';
import { type HubCluster, openHubCluster } from './hub-cluster.ts';
import type { BrokerOptions } from './options.ts';
import type { Replicas } from './replicas.ts';

/** Decides who may connect to a broker, by its files, its replicas' keys and the hub cluster. */
export interface AccessControl extends AsyncDisposable {
  readonly authenticator: Authenticator;
  /** Undefined: the hub cluster is not asked. */
  readonly clusterAdmission: ClusterAdmission | undefined;
  /** The rules for clients of all fronts; undefined: every valid credential may do everything. */
  readonly rules: WatchedAuthorizer | undefined;
  readonly dialerAccess: DialerAccess;
  /** Undefined: the broker does not use the hub's API server. */
  readonly hubCluster: HubCluster | undefined;
  readonly tls: Credentials['tls'];
  /** The files that are read again when they change. */
  readonly files: readonly FileStatus[];
}

interface Parts {
  readonly relay: Relay;
  readonly replicas: Replicas;
  /** Checks credentials instead of the keys, CAs and API server of the options. */
  readonly authenticator?: Authenticator | undefined;
  readonly log: Logger;
}

/** @throws Error a file cannot be read, or does not hold what it should */
export async function openAccessControl(
  options: BrokerOptions,
  { relay, replicas, log, ...given }: Parts,
): Promise<AccessControl> {
  await using parts = new AsyncDisposableStack();
  const { hub, proxies, replicaAddress } = options;
  const clock = systemClock;
  const hubCluster = hub && parts.use(openHubCluster(hub, proxies, log));
  const reviewer = hubCluster?.reviewer;
  const credentials = parts.use(await openCredentials(options, { reviewer, clock, log }));
  const clusterAdmission =
    hubCluster && new ClusterAdmission(hubCluster.clusters, { tunnels: relay, clock, log });
  parts.defer(() => clusterAdmission?.close());
  const rules = parts.use(
    await openRules({
      policyFile: options.policyFile,
      reviewAccess:
        hubCluster && options.hubAuthorization ? kubeAccessReview(hubCluster.api) : undefined,
      clusters: hubCluster?.clusters,
      clock,
      log,
    }),
  );
  const { authorizer } = rules;
  const dialerAccess = parts.use(
    new DialerAccess({ clock, authorizer, clusters: hubCluster?.clusters }),
  );
  const { keys } = replicas;
  const { authenticator = credentials.authenticator } = given;
  const opened = parts.move();
  return {
    authenticator:
      keys === undefined
        ? authenticator
        : new ReplicaAuthenticator(keys, replicaAddress?.href ?? '', authenticator),
    clusterAdmission,
    rules: authorizer,
    dialerAccess,
    hubCluster,
    tls: credentials.tls,
    files: [
      ...credentials.files,
      ...rules.files,
      ...(hubCluster === undefined ? [] : [hubCluster.ca]),
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
