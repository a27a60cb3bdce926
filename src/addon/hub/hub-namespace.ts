import { sleep } from '../../base/sleep.ts';
import { Informer, type InformerOptions } from '../../kube/controllers/informer.ts';
import type { KubeCollection } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef } from '../../kube/client/kube-ref.ts';
import { hubLabel, labels } from '../api/names.ts';
import type { AddonContext } from '../runtime/addon-context.ts';
import { hubKinds } from './plan-hub.ts';

export interface HubNamespaceOptions extends Pick<AddonContext, 'api' | 'clock' | 'log'> {
  /** Called when an object changes. */
  readonly onChange: () => void;
}

/** The time for the first read, in milliseconds, before its problems are reported. */
const firstReadMs = 5_000;

const withoutNamespace: ReadonlySet<string> = new Set([
  'Namespace',
  'ClusterRole',
  'ClusterRoleBinding',
]);

/**
 * Cached copies of the hub's objects, in the namespace of the configuration and without a
 * namespace. They include `managedFields`, by which the addon takes ownership of the fields that
 * Cluster Proxy wrote.
 */
export class HubNamespace {
  readonly #options: HubNamespaceOptions;
  #followed: { readonly namespace: string; readonly informers: readonly Informer[] } | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: HubNamespaceOptions) {
    this.#options = options;
  }

  /** All objects in the caches. */
  get objects(): readonly KubeObject[] {
    return this.informers.flatMap((informer) => informer.list());
  }

  get informers(): readonly Informer[] {
    return this.#followed?.informers ?? [];
  }

  /**
   * Follows `namespace` instead of the one before.
   *
   * @returns when everything has been read
   * @throws Error the reason why something cannot be read
   */
  async follow(namespace: string, signal: AbortSignal): Promise<void> {
    if (this.#followed?.namespace !== namespace) await this.#begin(namespace);
    const waiting = this.informers.filter(({ hasSynced }) => !hasSynced);
    if (waiting.length === 0) return;
    const { clock } = this.#options;
    const over = new AbortController();
    const late = sleep(clock, firstReadMs, AbortSignal.any([signal, over.signal]));
    const synced = Promise.all(waiting.map((informer) => informer.synced(signal)));
    try {
      await Promise.race([synced, late]);
    } finally {
      over.abort();
      await Promise.allSettled([late]);
    }
    signal.throwIfAborted();
    const unread = waiting.filter(({ hasSynced }) => !hasSynced);
    if (unread.length === 0) return;
    const sentences = unread.map(
      ({ problem, collection }) => problem ?? `${describeRef(collection)} are still being read`,
    );
    const isForbidden = sentences.some((sentence) => sentence.includes('forbidden'));
    const rights = `spec.proxyServer.namespace is ${namespace}: the account of the addon manager needs there what the chart's Role open-cluster-management:cluster-proxy:addon-manager gives it in the release namespace`;
    throw new Error([...(isForbidden ? [rights] : []), ...sentences].join('; '));
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#followed = undefined;
    await this.#running;
  }

  async #begin(namespace: string): Promise<void> {
    await this.close();
    const { api, clock, log, onChange } = this.#options;
    const informers = hubKinds.map(({ apiVersion, kind }) => {
      const collection: KubeCollection = withoutNamespace.has(kind)
        ? { apiVersion, kind }
        : { apiVersion, kind, namespace };
      const keep = (object: KubeObject) => object;
      const informer = new Informer({
        api,
        clock,
        log,
        collection,
        keep,
        ...selectorOf(kind, namespace),
      });
      informer.onChange(onChange);
      return informer;
    });
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.#running = Promise.all(informers.map((informer) => informer.run(signal)));
    this.#followed = { namespace, informers };
  }
}

/** Leaves out objects that are not the hub's and can be large or many. */
function selectorOf(kind: string, namespace: string): Partial<InformerOptions<KubeObject>> {
  switch (kind) {
    case 'Namespace':
      return { fieldSelector: `metadata.name=${namespace}` };
    case 'ClusterRole':
    case 'ClusterRoleBinding': {
      const [[label, value]] = Object.entries(hubLabel) as [[string, string]];
      return { labelSelector: `${label}=${value}` };
    }
    case 'Secret':
      // Helm stores each release in a Secret of up to a megabyte.
      return { fieldSelector: 'type!=helm.sh/release.v1' };
    case 'RoleBinding':
      // Bindings of clusters are watched with their clusters.
      return { labelSelector: `!${labels.addonName}` };
    default:
      return {};
  }
}
