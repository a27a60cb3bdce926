import { systemClock, type Clock } from '../../base/clock.ts';
import { silentLogger, type Logger } from '../../base/log/logger.ts';
import { sleep } from '../../base/sleep.ts';
import type { CallOptions, KubeApi } from '../client/kube-api.ts';
import { isKubeError } from '../client/kube-error.ts';
import type { KubeObject } from '../client/kube-object.ts';
import { find } from '../client/kube-ref.ts';

export interface LeaderElectionOptions {
  readonly api: KubeApi;
  readonly lease: { readonly namespace: string; readonly name: string };
  /** Unique for each process, such as the pod's name and a random part. */
  readonly identity: string;
  /**
   * How long other candidates wait after the last renewal that they saw, in milliseconds (default
   * 15_000).
   */
  readonly leaseMs?: number | undefined;
  /**
   * How long a leader tries to renew before it stops leading, in milliseconds (default 10_000).
   * Less than `leaseMs`, by the time that it needs to stop.
   */
  readonly renewWithinMs?: number | undefined;
  /** Time between attempts to renew or to acquire the Lease, in milliseconds (default 2_000). */
  readonly retryEveryMs?: number | undefined;
  readonly clock?: Clock | undefined;
  /**
   * The time of day for people who read the Lease (default: the system's). Nothing depends on it.
   */
  readonly wallClock?: (() => Date) | undefined;
  /** Uniform random number in [0, 1) (default Math.random). */
  readonly random?: (() => number) | undefined;
  readonly log?: Logger | undefined;
}

/** coordination.k8s.io/v1 */
export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}
interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

/** The options for the next call of an attempt, which has the time that is left. */
type NextCall = () => CallOptions;

/**
 * Elects one leader among several processes with a Lease, as client-go does. Clocks are not
 * compared: a holder's time runs from the moment when we saw its renewal. Two processes can lead
 * for a moment if the first was stopped for longer than the lease, so writes must be safe then.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #clock: Clock;
  readonly #wallClock: () => Date;
  readonly #random: () => number;
  readonly #log: Logger;
  readonly #leaseMs: number;
  readonly #renewWithinMs: number;
  readonly #retryEveryMs: number;
  #seen: { readonly lease: Lease; readonly atMs: number } | undefined;
  /** When the last write that succeeded was sent. Others cannot have seen it earlier. */
  #renewedMs = -Infinity;
  #isLeading = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#wallClock = options.wallClock ?? (() => new Date());
    this.#random = options.random ?? Math.random;
    const { namespace, name } = options.lease;
    this.#log = (options.log ?? silentLogger).child({
      lease: `${namespace}/${name}`,
      identity: options.identity,
    });
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewWithinMs = options.renewWithinMs ?? 10_000;
    this.#retryEveryMs = options.retryEveryMs ?? 2_000;
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /** The last holder of the Lease that we saw. */
  get leader(): string | undefined {
    return this.#seen?.lease.spec?.holderIdentity || undefined;
  }

  /**
   * Acquires the Lease and calls `lead`, again after each loss of the Lease, until `signal` aborts.
   * Then, when `lead` has ended, releases the Lease.
   *
   * @param lead must end soon after its signal aborts, because others begin `leaseMs -
   *   renewWithinMs` later. When it ends by itself, or rejects, the Lease is released and `run`
   *   ends in the same way.
   */
  async run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#acquire(signal);
      if (!this.#isLeading) continue;
      this.#log.info('leading');
      const over = new AbortController();
      const isOver = { value: false };
      const led = lead(AbortSignal.any([signal, over.signal])).finally(() => {
        isOver.value = true;
        over.abort();
      });
      // Handled below. Without this, a rejection during the wait would be unhandled.
      led.catch(() => {});
      const lost = await this.#renew(AbortSignal.any([signal, over.signal]));
      this.#isLeading = false;
      if (lost) this.#log.warn('lost the lease', { holder: this.leader });
      const ownEnd = isOver.value;
      over.abort(new Error('the lease was lost'));
      try {
        await led;
      } catch (thrown) {
        if (ownEnd) throw thrown;
        this.#log.debug('leading ended', { error: thrown });
      } finally {
        if (!lost) await this.#release();
      }
      if (ownEnd) return;
    }
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (await this.#attempt(signal, this.#renewWithinMs)) {
        this.#isLeading = true;
        return;
      }
      // A random delay, so that candidates do not all write at once.
      const delayMs = this.#retryEveryMs * (1 + 1.2 * this.#random());
      await sleep(this.#clock, delayMs, signal).catch(() => {});
    }
  }

  /** Renews until `signal` aborts. @returns whether the lease was lost before that */
  async #renew(signal: AbortSignal): Promise<boolean> {
    const leftMs = () => this.#renewedMs + this.#renewWithinMs - this.#clock.now();
    for (;;) {
      await sleep(this.#clock, Math.min(this.#retryEveryMs, leftMs()), signal).catch(() => {});
      if (signal.aborted) return false;
      if (leftMs() <= 0) return true;
      if (await this.#attempt(signal, leftMs())) continue;
      if (signal.aborted) return false;
      if (this.#isHeldByOther()) return true;
    }
  }

  #isHeldByOther(): boolean {
    return this.leader !== undefined && this.leader !== this.#options.identity;
  }

  /**
   * Tries to acquire or renew the Lease once. Logs errors, because another attempt follows soon.
   *
   * @param timeoutMs for all calls together
   */
  async #attempt(signal: AbortSignal, timeoutMs: number): Promise<boolean> {
    const endMs = this.#clock.now() + timeoutMs;
    const call: NextCall = () => ({ signal, timeoutMs: Math.max(1, endMs - this.#clock.now()) });
    try {
      return await this.#tryOnce(call);
    } catch (thrown) {
      if (signal.aborted) return false;
      // Another candidate was faster.
      if (isKubeError(thrown, 'conflict', 'already_exists')) await this.#refresh(call);
      else this.#log.warn('leader election failed', { error: thrown });
      return false;
    }
  }

  async #tryOnce(call: NextCall): Promise<boolean> {
    const { api, identity } = this.#options;
    // The leader reuses its last Lease. `resourceVersion` makes the write fail if another process
    // changed it.
    const known = this.#isLeading ? this.#seen?.lease : await this.#read(call);
    const holder = known?.spec?.holderIdentity;
    if (holder && holder !== identity && this.#isValid()) return false;
    const sentMs = this.#clock.now();
    const verb = known === undefined ? 'create' : 'update';
    this.#remember(await api[verb]<Lease>(this.#renewed(known), call()));
    this.#renewedMs = sentMs;
    return true;
  }

  async #refresh(call: NextCall): Promise<void> {
    try {
      await this.#read(call);
    } catch (thrown) {
      this.#log.debug('lease not read', { error: thrown });
    }
  }

  async #read(call: NextCall): Promise<Lease | undefined> {
    const { api, lease } = this.#options;
    const found = await find<Lease>(api, { ...leaseKind, ...lease }, call());
    if (found === undefined) this.#seen = undefined;
    else this.#remember(found);
    return found;
  }

  #remember(lease: Lease): void {
    if (this.#seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#seen = { lease, atMs: this.#clock.now() };
  }

  /** Whether the last holder that we saw may still lead. */
  #isValid(): boolean {
    if (this.#seen === undefined) return false;
    const { lease, atMs } = this.#seen;
    const durationMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
    return this.#clock.now() < atMs + durationMs;
  }

  #renewed(before: Lease | undefined): Lease {
    const { identity, lease } = this.#options;
    const now = this.#now();
    const isOurs = before?.spec?.holderIdentity === identity;
    const transitions = before?.spec?.leaseTransitions ?? 0;
    return {
      ...leaseKind,
      metadata: { ...lease, ...before?.metadata },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1000),
        acquireTime: (isOurs ? before.spec?.acquireTime : undefined) ?? now,
        renewTime: now,
        leaseTransitions: before === undefined || isOurs ? transitions : transitions + 1,
      },
    };
  }

  /** Releases the Lease, so that another candidate can lead at once. */
  async #release(): Promise<void> {
    const lease = this.#seen?.lease;
    if (lease?.spec?.holderIdentity !== this.#options.identity) return;
    const released: Lease = {
      ...lease,
      spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#now() },
    };
    try {
      const call = { signal: new AbortController().signal, timeoutMs: this.#retryEveryMs };
      this.#remember(await this.#options.api.update<Lease>(released, call));
      this.#log.info('released the lease');
    } catch (error) {
      this.#log.warn('could not release the lease; it will expire', { error });
    }
  }

  /** RFC 3339 with microseconds, as the API requires. */
  #now(): string {
    return this.#wallClock().toISOString().replace('Z', '000Z');
  }
}

const leaseKind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' } as const;
