import { Informer } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';

export interface NamespaceConfigMapsOptions extends Pick<
  ControllerContext,
  'api' | 'clock' | 'log'
> {
  /** Called when a ConfigMap has changed. */
  readonly onChange: () => void;
}

/** A cached copy of the ConfigMaps in the namespace of the brokers. */
export class NamespaceConfigMaps {
  readonly #options: NamespaceConfigMapsOptions;
  #followed: { readonly namespace: string; readonly informer: Informer } | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: NamespaceConfigMapsOptions) {
    this.#options = options;
  }

  /** Follows `namespace` instead of the one before, and waits for its first list. */
  async follow(namespace: string, signal: AbortSignal): Promise<void> {
    if (this.#followed?.namespace !== namespace) this.#start(namespace);
    await this.#followed!.informer.synced(signal);
  }

  get(name: string): KubeObject | undefined {
    return this.#followed?.informer.get(`${this.#followed.namespace}/${name}`);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#followed = undefined;
    await this.#running;
  }

  #start(namespace: string): void {
    this.#stop.abort();
    const { api, clock, log, onChange } = this.#options;
    const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace };
    const informer = new Informer({ api, clock, log, collection });
    informer.onChange(onChange);
    this.#followed = { namespace, informer };
    this.#stop = new AbortController();
    this.#running = Promise.all([this.#running, informer.run(this.#stop.signal)]);
  }
}
