import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log/logger.ts';
import { sleep } from '../../base/sleep.ts';
import { Informer, type InformerOptions } from '../../kube/controllers/informer.ts';
import type { KubeApi, KubeCollection } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { describeRef } from '../../kube/client/kube-ref.ts';
import { labels, hubLabel } from '../api/names.ts';
import { hubKinds } from './plan-hub.ts';

export interface HubNamespaceOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Logger;
  /** Something in it has changed. */
  readonly onChange: () => void;
}

/** How long the first look may take, in milliseconds, before it is said what keeps it. */
const firstLookMs = 5_000;

const withoutNamespace: ReadonlySet<string> = new Set([
  'Namespace',
  'ClusterRole',
  'ClusterRoleBinding',
]);

/**
 * Copies of the objects that the hub consists of, in the namespace that the configuration names and in none. With who manages which
 * field: what Cluster Proxy's own controllers wrote is taken over by that.
 */
export class HubNamespace {
  readonly #options: HubNamespaceOptions;
  #followed: { readonly namespace: string; readonly informers: readonly Informer[] } | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: HubNamespaceOptions) {
    this.#options = options;
  }

  /** All that is there, as far as it is followed. */
  get objects(): readonly KubeObject[] {
    return this.informers.flatMap((informer) => informer.list());
  }

  get informers(): readonly Informer[] {
    return this.#followed?.informers ?? [];
  }

  /**
   * Follows `namespace` from now on, and no other.
   *
   * @returns once everything has been read
   * @throws Error what keeps it from that
   */
  async follow(namespace: string, signal: AbortSignal): Promise<void> {
    if (this.#followed?.namespace !== namespace) await this.#begin(namespace);
    const waiting = this.informers.filter(({ hasSynced }) => !hasSynced);
    if (waiting.length === 0) return;
    const { clock } = this.#options;
    const over = new AbortController();
    const late = sleep(clock, firstLookMs, AbortSignal.any([signal, over.signal]));
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

/** Leaves out what is not the hub's and may be large or many. */
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
      // Each release of a chart is one, of up to a megabyte.
      return { fieldSelector: 'type!=helm.sh/release.v1' };
    case 'RoleBinding':
      // One for every cluster that comes through the kube-apiserver: those are watched with their clusters.
      return { labelSelector: `!${labels.addonName}` };
    default:
      return {};
  }
}
