import process from 'node:process';
import { Backoff } from '../base/backoff.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { describeError } from '../base/error.ts';
import { exposeFiles } from '../base/metrics/file-metrics.ts';
import { LastGoodCa } from '../base/tls/last-good-ca.ts';
import type { Logger } from '../base/log/logger.ts';
import { readProxyEnvironment } from '../base/net/proxy-environment.ts';
import { sleep } from '../base/sleep.ts';
import { startStatusServer, type StatusSource } from '../base/server/status-server.ts';
import { inClusterConfig } from '../kube/client/in-cluster-config.ts';
import type { KubeApi } from '../kube/client/kube-api.ts';
import { kubeconfigFile } from '../kube/client/kubeconfig-file.ts';
import { LeaderElection } from '../kube/controllers/leader-election.ts';
import { RestKubeApi } from '../kube/client/rest-kube-api.ts';
import { addonMetrics, type AddonNumbers } from './addon-metrics.ts';
import { apiGroups } from './api/names.ts';
import { type Controllers, makeControllers } from './controllers.ts';
import { version } from '../base/version.ts';
import { fieldManager } from './compat/take-ownership.ts';
import { noRotations } from './rotation/rotation-status.ts';
import type { ListenAddress } from './options-table.ts';
import type { AddonOptions } from './options.ts';
import type { AddonContext } from './runtime/addon-context.ts';

export interface AddonParts {
  readonly log: Logger;
  /** The hub's API server. Default: from the options. The addon does not close it. */
  readonly api?: KubeApi;
  readonly clock?: Clock;
  readonly wallClock?: () => Date;
}

/** The addon manager of this process. */
export type RunningAddon = Addon;

/** The Lease for leader election. */
const leaseName = 'cluster-proxy-addon-manager';

/** The longest delay between attempts to find the APIs of OCM on the hub, in milliseconds. */
const maxDiscoveryMs = 15_000;

/**
 * Starts the addon manager. It waits for a hub that does not answer or that does not have OCM yet.
 *
 * @throws Error an address is in use
 */
export async function startAddon(options: AddonOptions, parts: AddonParts): Promise<RunningAddon> {
  await using starting = new AsyncDisposableStack();
  const { log } = parts;
  const ca = new LastGoodCa("CA of the hub's API server", log);
  const api = parts.api ?? openHub(options, ca);
  if (parts.api === undefined) starting.defer(() => api.close());
  const addon = new Addon(options, api, parts);
  starting.defer(() => addon.stop());
  const serve = async (where: ListenAddress | undefined, source: StatusSource) => {
    if (where === undefined) return undefined;
    return starting.use(await startStatusServer({ host: '', ...where }, source, log)).address;
  };
  const unready = () => addon.unready;
  addon.healthAddress = await serve(options.healthListen, { unready });
  const counted = addonMetrics(() => addon.numbers);
  exposeFiles(counted.group('culvert_addon'), [ca]);
  const metrics = () => counted.render();
  addon.metricsAddress = await serve(options.metricsListen, { unready, metrics });
  addon.start(starting.move());
  return addon;
}

function openHub({ kubeconfig }: AddonOptions, ca: LastGoodCa): KubeApi {
  const config =
    kubeconfig === undefined
      ? inClusterConfig(process.env, { ca })
      : kubeconfigFile(kubeconfig, { ca });
  const userAgent = `culvert-addon/${version}`;
  const proxies = readProxyEnvironment(process.env);
  return new RestKubeApi({ config, fieldManager, userAgent, proxies });
}

/** The numbers of a process that does not lead. */
const idle: Controllers['numbers'] = {
  clusters: 0,
  controllers: [],
  requests: { approved: 0, denied: 0, signed: 0, failed: 0 },
  rotations: noRotations,
};

/** Finds the hub, and runs the controllers while this process leads. */
class Addon implements AsyncDisposable {
  /** The address for probes (`host:port`). Undefined: none. */
  healthAddress: string | undefined;
  metricsAddress: string | undefined;
  readonly #options: AddonOptions;
  readonly #context: AddonContext;
  readonly #stop = new AbortController();
  #controllers: Controllers | undefined;
  #problem: string | undefined = 'the hub has not answered yet';
  #running: Promise<void> | undefined;
  #started: AsyncDisposableStack | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    options: AddonOptions,
    api: KubeApi,
    { log, clock = systemClock, wallClock = () => new Date() }: AddonParts,
  ) {
    this.#options = options;
    const nowMs = () => wallClock().getTime();
    this.#context = { api, clock, nowMs, log: log.child({ identity: options.identity }) };
  }

  /** Whether this process holds the lease and runs the controllers. Other replicas wait. */
  get isLeading(): boolean {
    return this.#controllers !== undefined;
  }

  /** Why this process is not ready, as a sentence. Undefined: it is ready. */
  get unready(): string | undefined {
    return this.#problem ?? this.#controllers?.unready;
  }

  get numbers(): AddonNumbers {
    return { isLeading: this.isLeading, ...idle, ...this.#controllers?.numbers };
  }

  /** @param started everything that `close` disposes of, including `stop` */
  start(started: AsyncDisposableStack): void {
    this.#started = started;
    this.#running = this.#run(this.#stop.signal).catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#problem = `the addon manager ended: ${describeError(error)}`;
      this.#context.log.error('addon manager ended unexpectedly, restart it', { error });
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error('the addon manager is shutting down'));
    await this.#running;
  }

  /** The same as `close`. */
  async drain(): Promise<void> {
    await this.close();
  }

  /** Starts no new work, waits for running reconciles, and releases the lease. Idempotent. */
  async close(): Promise<void> {
    await (this.#closing ??= this.#started?.disposeAsync());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const addonVersion = await this.#discover(signal);
    this.#problem = undefined;
    this.#context.log.info('hub found', { addonVersion });
    const lead = (until: AbortSignal) => this.#lead(addonVersion, until);
    if (!this.#options.leaderElect) return await lead(signal);
    const { namespace, identity } = this.#options;
    const lease = { namespace, name: leaseName };
    await new LeaderElection({ ...this.#context, lease, identity }).run(lead, signal);
  }

  async #lead(addonVersion: string, signal: AbortSignal): Promise<void> {
    this.#controllers = makeControllers(this.#context, this.#options, addonVersion);
    try {
      await this.#controllers.run(signal);
    } finally {
      this.#controllers = undefined;
    }
  }

  /**
   * The version of OCM's addon API. It is v1alpha1 while the hub serves it, because objects are
   * stored in that version.
   */
  async #discover(signal: AbortSignal): Promise<string> {
    const backoff = new Backoff({ capMs: maxDiscoveryMs });
    for (;;) {
      try {
        return await this.#findVersion(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const reason = describeError(thrown);
        if (reason !== this.#problem) this.#context.log.warn('waiting for the hub', { reason });
        this.#problem = reason;
      }
      await sleep(this.#context.clock, backoff.nextDelayMs(), signal);
    }
  }

  async #findVersion(signal: AbortSignal): Promise<string> {
    for (const version of ['v1alpha1', 'v1beta1']) {
      const apiVersion = `${apiGroups.addon}/${version}`;
      const kind = { apiVersion, kind: 'ManagedClusterAddOn' };
      if (await this.#context.api.serves(kind, { signal })) return version;
    }
    throw new Error(
      'the hub does not know ManagedClusterAddOns; install Open Cluster Management on it',
    );
  }
}
