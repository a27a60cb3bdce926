import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import type { Logger } from '../base/log/logger.ts';
import { sleep } from '../base/sleep.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import type { KubeObject } from '../kube/client/kube-object.ts';
import { listAll, refOf } from '../kube/client/kube-ref.ts';
import type { ServerLeaseOptions } from './options.ts';

/** As upstream's server has them. */
const leaseDurationSeconds = 30;
const renewEveryMs = 15_000;
/** How long the deletion of the own lease may take when the server ends, in milliseconds. */
const deleteTimeoutMs = 3_000;

const apiVersion = 'coordination.k8s.io/v1';
const kind = 'Lease';

interface Lease extends KubeObject {
  readonly spec?: {
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseDurationSeconds?: number;
  };
}

export interface ServerLeaseParts {
  readonly api: KubeApi;
  readonly serverId: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Calendar time (default: the system's). */
  readonly now?: () => Date;
}

/**
 * The Lease of this server, as upstream's `--enable-lease-controller` publishes it. Standard agents
 * that run with `--count-server-leases` count these Leases and connect to so many servers. Each
 * server also deletes Leases of servers that are gone.
 */
export class ServerLease implements AsyncDisposable {
  readonly #options: ServerLeaseOptions;
  readonly #parts: ServerLeaseParts;
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;
  #failing = '';

  /** Publishes the Lease from now on, and deletes it when it is disposed of. */
  constructor(options: ServerLeaseOptions, parts: ServerLeaseParts) {
    this.#options = options;
    this.#parts = parts;
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#running;
    const { api, log } = this.#parts;
    const options = { signal: new AbortController().signal, timeoutMs: deleteTimeoutMs };
    await api.delete(refOf(this.#lease()), options).catch((thrown: unknown) => {
      log.warn('server lease not deleted, it will expire', { error: describeError(thrown) });
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      await this.#renew(signal);
      await sleep(this.#parts.clock, renewEveryMs, signal).catch(() => {});
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { api, log } = this.#parts;
    try {
      await api.apply(this.#lease(), { signal, force: true });
      await this.#deleteExpired(signal);
      this.#failing = '';
    } catch (thrown) {
      if (signal.aborted) return;
      const error = describeError(thrown);
      if (error !== this.#failing) log.warn('server lease not renewed', { error });
      this.#failing = error;
    }
  }

  async #deleteExpired(signal: AbortSignal): Promise<void> {
    const { api, log } = this.#parts;
    const { namespace, label } = this.#options;
    const leases = { apiVersion, kind, namespace };
    const { items } = await listAll<Lease>(api, leases, { signal, labelSelector: label });
    const nowMs = this.#now().getTime();
    for (const lease of items) {
      if (isValid(lease, nowMs)) continue;
      // Another server may have deleted it, or its owner is back and has made another one.
      const { uid } = lease.metadata;
      await api.delete(refOf(lease), { signal, uid });
      log.info('expired server lease deleted', { lease: lease.metadata.name });
    }
  }

  #lease(): KubeObject {
    const { serverId } = this.#parts;
    const { namespace, label } = this.#options;
    const [key = '', value = ''] = label.split('=');
    return {
      apiVersion,
      kind,
      metadata: {
        name: `konnectivity-proxy-server-${serverId}`,
        namespace,
        labels: { [key]: value },
      },
      spec: {
        holderIdentity: serverId,
        leaseDurationSeconds,
        // Microseconds, as the type wants it.
        renewTime: this.#now().toISOString().replace('Z', '000Z'),
      },
    };
  }

  #now(): Date {
    return this.#parts.now?.() ?? new Date();
  }
}

/** Whether agents count the Lease, by upstream's rule. */
function isValid({ spec }: Lease, nowMs: number): boolean {
  const time = spec?.renewTime ?? spec?.acquireTime;
  if (time === undefined) return false;
  return Date.parse(time) + (spec?.leaseDurationSeconds ?? 0) * 1_000 > nowMs;
}
