import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { Informer } from '../../kube/controllers/informer.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { AcceptedClusters } from '../cluster-admission.ts';

interface ManagedCluster extends KubeObject {
  readonly spec?: { readonly hubAcceptsClient?: boolean };
}

const collection = { apiVersion: 'cluster.open-cluster-management.io/v1', kind: 'ManagedCluster' };

/** Which ManagedClusters the hub accepts. While the API server is away, what was last heard holds. */
export class ManagedClusters implements AcceptedClusters, AsyncDisposable {
  readonly #informer: Informer<ManagedCluster>;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(api: KubeApi, { clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.#informer = new Informer({ api, collection, keep: essence, clock, log });
    this.#running = this.#informer.run(this.#stop.signal);
  }

  isAccepted(cluster: string): boolean | undefined {
    return this.#informer.hasSynced ? isAccepted(this.#informer.get(cluster)) : undefined;
  }

  onRevoked(listener: (cluster: string) => void): void {
    this.#informer.onChange(({ key, old, now }) => {
      if (isAccepted(old) && !isAccepted(now)) listener(key);
    });
  }

  /** Listens no more. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the broker is shutting down'));
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** There may be thousands, and a broker has no use for the rest. */
function essence({ apiVersion, kind, metadata, spec }: ManagedCluster): ManagedCluster {
  const { name, uid, resourceVersion, deletionTimestamp } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
    spec: { hubAcceptsClient: spec?.hubAcceptsClient === true },
  };
}

/** One that is being deleted is on its way out: its registration goes with it. */
function isAccepted(cluster: ManagedCluster | undefined): boolean {
  return (
    cluster?.spec?.hubAcceptsClient === true && cluster.metadata.deletionTimestamp === undefined
  );
}
