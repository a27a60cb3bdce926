import { systemClock } from '../../base/clock.ts';
import type { FileStatus } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { Authenticator } from '../authenticator.ts';
import { ClusterAdmission } from '../cluster-admission.ts';
import type { Relay } from '../relay.ts';
import { ReplicaAuthenticator } from '../replica-authenticator.ts';
import { type Credentials, openCredentials } from './credentials.ts';
import { openHubCluster } from './hub-cluster.ts';
import type { BrokerOptions } from './options.ts';
import type { Replicas } from './replicas.ts';

/** Decides who may connect to a broker, by its files, its replicas' keys and the hub cluster. */
export interface AccessControl extends AsyncDisposable {
  readonly authenticator: Authenticator;
  /** Undefined: the hub cluster is not asked. */
  readonly clusterAdmission: ClusterAdmission | undefined;
  readonly tls: Credentials['tls'];
  /** The files that are read again when they change. */
  readonly files: readonly FileStatus[];
}

/** @throws Error a file cannot be read, or does not hold what it should */
export async function openAccessControl(
  options: BrokerOptions,
  { relay, replicas, log }: { relay: Relay; replicas: Replicas; log: Logger },
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
  const { keys } = replicas;
  const opened = parts.move();
  return {
    authenticator:
      keys === undefined
        ? credentials.authenticator
        : new ReplicaAuthenticator(keys, replicaAddress?.href ?? '', credentials.authenticator),
    clusterAdmission,
    tls: credentials.tls,
    files: [...credentials.files, ...(hubCluster === undefined ? [] : [hubCluster.ca])],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
