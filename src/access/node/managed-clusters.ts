import type { ClusterDirectory } from '../cluster-directory.ts';
import type { Labels } from '../label-selector.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { Informer } from '../../kube/controllers/informer.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';

interface ManagedCluster extends KubeObject {
  readonly spec?: { readonly hubAcceptsClient?: boolean };
}

const collection = { apiVersion: 'cluster.open-cluster-management.io/v1', kind: 'ManagedCluster' };

/**
 * Follows the ManagedClusters of the hub cluster: which of them it accepts, and their labels. While
 * its API server does not answer, the last known state is valid.
 */
export class ManagedClusters implements ClusterDirectory, AsyncDisposable {
  readonly #informer: Informer<ManagedCluster>;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(api: KubeApi, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#informer = new Informer({ api, collection, keep: neededFields, clock, log });
    this.#running = this.#informer.run(this.#stop.signal);
  }

  /** Undefined until the hub cluster has answered. */
  isAccepted(cluster: string): boolean | undefined {
    return this.#informer.hasSynced ? isAccepted(this.#informer.get(cluster)) : undefined;
  }

  labelsOf(cluster: string): Labels | undefined {
    const known = this.#informer.get(cluster);
    return known && (known.metadata.labels ?? {});
  }

  names(): readonly string[] {
    return this.#informer.keys();
  }

  /** Calls `listener` with each cluster that is no longer accepted. */
  onRevoked(listener: (cluster: string) => void): void {
    this.#informer.onChange(({ key, old, now }) => {
      if (isAccepted(old) && !isAccepted(now)) listener(key);
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the program is shutting down'));
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The fields that are needed, because there may be thousands of clusters. */
function neededFields({ apiVersion, kind, metadata, spec }: ManagedCluster): ManagedCluster {
  const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(labels === undefined ? {} : { labels }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
    spec: { hubAcceptsClient: spec?.hubAcceptsClient === true },
  };
}

/** A cluster that is being deleted is not accepted, because its registration is deleted, too. */
function isAccepted(cluster: ManagedCluster | undefined): boolean {
  return (
    cluster?.spec?.hubAcceptsClient === true && cluster.metadata.deletionTimestamp === undefined
  );
}
