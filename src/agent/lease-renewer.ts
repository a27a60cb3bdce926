import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { sleep } from '../base/sleep.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import { isKubeError } from '../kube/client/kube-error.ts';
import type { KubeObject } from '../kube/client/kube-object.ts';
import type { LeaseName } from './options.ts';

/** A watcher of the lease counts an agent as gone after five of these. */
const leaseDurationSeconds = 60;
const renewEveryMs = 60_000;
/** Added by chance, so that many agents do not renew together. */
const jitter = 0.25;
/** Sooner than the next renewal: the broker has just not answered, or there is no tunnel yet. */
const retryEveryMs = 5_000;

export interface LeaseRenewerOptions {
  readonly lease: LeaseName;
  /** Names this process in the lease. */
  readonly holder: string;
  /** The cluster that this runs in. */
  readonly here: KubeApi;
  /** The hub, where the lease is renewed instead when this cluster has no leases: in the namespace that has the cluster's name. */
  readonly hub: KubeApi | undefined;
  readonly cluster: string;
  /** Whether a broker answers through a tunnel, asked now. */
  readonly isAnswered: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Uniform random number in [0, 1) (default Math.random). */
  readonly random?: () => number;
  /** Calendar time (default: the system's). */
  readonly now?: () => Date;
}

/** Renews a Lease once a minute, but only if the broker has just answered, because the Lease means that the cluster can be reached. */
export class LeaseRenewer {
  readonly #options: LeaseRenewerOptions;
  /** When the lease was renewed last; undefined: not yet. */
  renewedAt: Date | undefined;
  #failing = '';

  constructor(options: LeaseRenewerOptions) {
    this.#options = options;
  }

  /** Resolves when the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { random = Math.random } = this.#options;
    while (!signal.aborted) {
      const isRenewed = await this.#renewOnce(signal);
      const delayMs = isRenewed ? renewEveryMs * (1 + jitter * random()) : retryEveryMs;
      // An abort ends the wait, and the loop with it.
      await sleep(this.#options.clock, delayMs, signal).catch(() => {});
    }
  }

  async #renewOnce(signal: AbortSignal): Promise<boolean> {
    const { isAnswered, log, lease } = this.#options;
    try {
      if (!(await isAnswered(signal))) return this.#fail('no broker answers through a tunnel');
      await this.#renew(signal);
    } catch (thrown) {
      return signal.aborted ? false : this.#fail(describeError(thrown));
    }
    if (this.#failing !== '') log.info('lease renewed again', { ...lease });
    this.#failing = '';
    return true;
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { here, hub, cluster, lease } = this.#options;
    try {
      await this.#renewIn(here, lease, signal);
    } catch (thrown) {
      const hasNoLeases = isKubeError(thrown, 'not_served', 'not_found');
      if (!hasNoLeases || hub === undefined) throw thrown;
      await this.#renewIn(hub, { namespace: cluster, name: lease.name }, signal);
    }
  }

  async #renewIn(api: KubeApi, metadata: LeaseName, signal: AbortSignal): Promise<void> {
    const { holder, now = () => new Date() } = this.#options;
    const at = now();
    const object: KubeObject = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...metadata },
      spec: {
        holderIdentity: holder,
        leaseDurationSeconds,
        // Microseconds, as the type wants it.
        renewTime: at.toISOString().replace('Z', '000Z'),
      },
    };
    await api.apply(object, { signal, force: true });
    this.renewedAt = at;
  }

  /** Said once for each reason. */
  #fail(reason: string): false {
    const { log, lease } = this.#options;
    if (this.#failing !== reason) log.warn('lease not renewed', { ...lease, reason });
    this.#failing = reason;
    return false;
  }
}
