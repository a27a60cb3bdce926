import { systemClock, type Clock } from '../../base/clock.ts';
import { silentLogger, type Logger } from '../../base/log/logger.ts';
import { sleep } from '../../base/sleep.ts';
import type { KubeApi } from '../client/kube-api.ts';
import { isKubeError } from '../client/kube-error.ts';
import type { KubeObject } from '../client/kube-object.ts';
import { find } from '../client/kube-ref.ts';

export interface LeaderElectionOptions {
  readonly api: KubeApi;
  readonly lease: { readonly namespace: string; readonly name: string };
  /** Who we are: unique for each process, such as pod name and a random part. */
  readonly identity: string;
  /** How long others wait after the last renewal that they saw, in milliseconds (default 15_000). */
  readonly leaseMs?: number | undefined;
  /** How long a leader tries to renew before it stops leading (default 10_000); less than `leaseMs`, by what it needs to stop. */
  readonly renewWithinMs?: number | undefined;
  /** Between attempts, to renew or to get it (default 2_000). */
  readonly retryEveryMs?: number | undefined;
  readonly clock?: Clock | undefined;
  /** What time it is, for people who read the Lease (default: the system's). Nothing is decided by it. */
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

/**
 * One leader among several processes, by a Lease, as client-go does it: clocks are not compared, a holder's time runs from when we saw it
 * renew. Two may lead for a moment if a process stands still for longer than the lease: writes must bear that.
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

  /** Who holds the Lease, as far as we saw. */
  get leader(): string | undefined {
    return this.#seen?.lease.spec?.holderIdentity || undefined;
  }

  /**
   * Waits to lead, calls `lead`, and again whenever the lead was lost, until `signal` aborts; the Lease is given back then, when
   * `lead` has ended.
   *
   * @param lead must end soon after its signal aborts: others begin `leaseMs - renewWithinMs` later. When it ends by itself, or
   *   rejects, the Lease is given back and run ends with it.
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
      // Handled below; without this a rejection during the wait would count as nobody's.
      led.catch(() => {});
      const lost = await this.#renew(AbortSignal.any([signal, over.signal]));
      this.#isLeading = false;
      if (lost) this.#log.warn('lost the lead', { holder: this.leader });
      const ownEnd = isOver.value;
      over.abort(new Error('the lead was lost'));
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
      // Spread, so that those who wait do not all write at once.
      const delayMs = this.#retryEveryMs * (1 + 1.2 * this.#random());
      await sleep(this.#clock, delayMs, signal).catch(() => {});
    }
  }

  /** Renews until `signal` aborts. @returns whether the lead was lost before that */
  async #renew(signal: AbortSignal): Promise<boolean> {
    let renewedMs = this.#clock.now();
    for (;;) {
      const leftMs = renewedMs + this.#renewWithinMs - this.#clock.now();
      await sleep(this.#clock, Math.min(this.#retryEveryMs, leftMs), signal).catch(() => {});
      if (signal.aborted) return false;
      const startedMs = this.#clock.now();
      const restMs = renewedMs + this.#renewWithinMs - startedMs;
      if (restMs <= 0) return true;
      if (await this.#attempt(signal, restMs)) renewedMs = startedMs;
      else if (signal.aborted) return false;
      else if (this.#isHeldByOther()) return true;
    }
  }

  #isHeldByOther(): boolean {
    return this.leader !== undefined && this.leader !== this.#options.identity;
  }

  /** Tries to get or to keep the Lease. What goes wrong is said in the log: there is another attempt soon. */
  async #attempt(signal: AbortSignal, timeoutMs: number): Promise<boolean> {
    try {
      return await this.#tryOnce({ signal, timeoutMs });
    } catch (thrown) {
      if (signal.aborted) return false;
      // Whoever was faster is seen by the next look.
      if (isKubeError(thrown, 'conflict', 'already_exists'))
        await this.#look({ signal, timeoutMs });
      else this.#log.warn('leader election failed', { error: thrown });
      return false;
    }
  }

  async #tryOnce(call: { signal: AbortSignal; timeoutMs: number }): Promise<boolean> {
    const { api, identity } = this.#options;
    // A leader writes what it wrote last; that nobody else did is what the version says.
    const known = this.#isLeading ? this.#seen?.lease : await this.#read(call);
    if (known === undefined) {
      this.#saw(await api.create<Lease>(this.#leaseBy(undefined), call));
      return true;
    }
    const holder = known.spec?.holderIdentity;
    if (holder && holder !== identity && this.#isValid()) return false;
    this.#saw(await api.update<Lease>(this.#leaseBy(known), call));
    return true;
  }

  async #look(call: { signal: AbortSignal; timeoutMs: number }): Promise<void> {
    try {
      await this.#read(call);
    } catch (thrown) {
      this.#log.debug('lease not read', { error: thrown });
    }
  }

  async #read(call: { signal: AbortSignal; timeoutMs: number }): Promise<Lease | undefined> {
    const { api, lease } = this.#options;
    const found = await find<Lease>(api, { ...leaseKind, ...lease }, call);
    if (found === undefined) this.#seen = undefined;
    else this.#saw(found);
    return found;
  }

  #saw(lease: Lease): void {
    if (this.#seen?.lease.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#seen = { lease, atMs: this.#clock.now() };
  }

  /** Whether the holder that we saw may still lead. */
  #isValid(): boolean {
    if (this.#seen === undefined) return false;
    const { lease, atMs } = this.#seen;
    const durationMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1000;
    return this.#clock.now() < atMs + durationMs;
  }

  #leaseBy(before: Lease | undefined): Lease {
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

  /** Lets the next one begin at once. */
  async #release(): Promise<void> {
    const lease = this.#seen?.lease;
    if (lease?.spec?.holderIdentity !== this.#options.identity) return;
    const released: Lease = {
      ...lease,
      spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#now() },
    };
    try {
      const call = { signal: new AbortController().signal, timeoutMs: this.#retryEveryMs };
      this.#saw(await this.#options.api.update<Lease>(released, call));
      this.#log.info('gave the lead back');
    } catch (error) {
      this.#log.warn('the lead could not be given back, it ends by itself', { error });
    }
  }

  /** RFC 3339 with microseconds, as the API wants it. */
  #now(): string {
    return this.#wallClock().toISOString().replace('Z', '000Z');
  }
}

const leaseKind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' } as const;
